import { ArgumentError, checkAbortSignal, checkOptions, checkPath, checkTimeout } from "../arguments.ts";
import { checkEnvironment, checkText } from "../agent/check-arguments.ts";

function checkCommand(where: string, value: unknown): void {
  if (!Array.isArray(value) || value.length === 0 || value[0] === "")
    throw new ArgumentError(where, value, "a list of a program and its arguments");
  for (const text of value) checkText(where, text);
}

function checkBytesOrText(where: string, value: unknown): void {
  if (typeof value !== "string" && !(value instanceof Uint8Array))
    throw new ArgumentError(where, value, "a text or a Uint8Array");
}

function checkSize(where: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw new ArgumentError(where, value, "a number of bytes");
}

/** A path that stays in the working directory. */
function checkOutputs(where: string, value: unknown): void {
  if (!Array.isArray(value)) throw new ArgumentError(where, value, "a list of paths");
  for (const path of value) {
    const names = typeof path === "string" ? path.split("/") : [""];
    if (names.some((name) => name === "" || name === "." || name === ".." || name.includes("\0")))
      throw new ArgumentError(where, path, "a relative path without . and ..");
  }
}

function checkLater(): void {
  // By Machine.boot or Machine.writeFiles, with the words for it.
}

/** Throws an ArgumentError. */
export function checkSandbox(options: unknown): void {
  checkOptions("sandbox", options, {
    command: checkCommand,
    code: checkBytesOrText,
    interpreter: checkCommand,
    files: checkLater,
    stdin: checkBytesOrText,
    env: checkEnvironment,
    user: checkText,
    cpus: checkLater,
    memory: checkLater,
    image: checkPath,
    timeLimit: checkTimeout,
    bootLimit: checkTimeout,
    outputLimit: checkSize,
    outputs: checkOutputs,
    filesLimit: checkSize,
    signal: checkAbortSignal,
  });
  const { command, code, interpreter } = options as Record<string, unknown>;
  if ((command === undefined) === (code === undefined))
    throw new ArgumentError("sandbox", { command, code }, "one of command and code");
  if (interpreter !== undefined && code === undefined)
    throw new ArgumentError("sandbox: interpreter", interpreter, "of use without code");
}
