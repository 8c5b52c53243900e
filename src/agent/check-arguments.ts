/** Checks of what programs hand to the agent's functions. Each throws an ArgumentError. */
import { constants } from "node:os";
import {
  ArgumentError,
  checkAbortSignal,
  checkOptions,
  checkTimeout,
  checkWindowSize,
} from "../arguments.ts";
import { LARGEST_PAYLOAD } from "./frames.ts";

/** Half of what a frame takes: in the guest each string costs a few bytes more. */
const LARGEST_COMMAND = LARGEST_PAYLOAD / 2;
const LAST_SIGNAL = 64;

export function checkText(where: string, value: unknown): void {
  if (typeof value === "string" && !value.includes("\0") && Buffer.byteLength(value) <= LARGEST_COMMAND)
    return;
  throw new ArgumentError(where, value, `a text without NUL characters, of at most ${LARGEST_COMMAND} bytes`);
}

/** A path in the guest. */
export function checkGuestPath(where: string, value: unknown): void {
  checkText(where, value);
  if (value === "") throw new ArgumentError(where, value, "a path in the guest");
}

function checkBoolean(where: string, value: unknown): void {
  if (typeof value !== "boolean") throw new ArgumentError(where, value, "true or false");
}

export function checkEnvironment(where: string, value: unknown): void {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ArgumentError(where, value, "an object of texts");
  for (const [name, text] of Object.entries(value)) {
    checkText(`${where}.${name}`, text);
    if (name === "" || name.includes("=") || name.includes("\0"))
      throw new ArgumentError(where, name, "the name of a variable");
  }
}

function checkCount(where: string, value: unknown): void {
  if (!(typeof value === "number" && value >= 0))
    throw new ArgumentError(where, value, "a number of at least 0");
}

const SIGNAL = { signal: checkAbortSignal };

const EXEC_OPTIONS = {
  ...SIGNAL,
  env: checkEnvironment,
  cwd: checkText,
  user: checkText,
  terminal: (where: string, value: unknown): void => {
    if (typeof value !== "boolean") checkWindowSize(where, value);
  },
  stdin: (where: string, value: unknown): void => {
    if (value !== "pipe" && value !== "none" && !(value instanceof Uint8Array))
      throw new ArgumentError(where, value, "pipe, none, or a Uint8Array", "of a text: Buffer.from(text)");
  },
  timeout: checkTimeout,
};

/** A command, and how it is run. */
export function checkExec(argv: unknown, options: unknown): void {
  if (!Array.isArray(argv) || argv.length === 0 || argv[0] === "")
    throw new ArgumentError("exec: argv", argv, "a list of a program and its arguments");
  for (const text of argv) checkText("exec: argv", text);
  checkOptions("exec", options, EXEC_OPTIONS);
  const { env = {} } = options as { env?: Record<string, string> };
  const bytes = [...(argv as string[]), ...Object.entries(env).flat()].reduce(
    (sum, text) => sum + Buffer.byteLength(text) + 2,
    0,
  );
  if (bytes > LARGEST_COMMAND) {
    throw new ArgumentError(
      "exec: argv and env",
      `${bytes} bytes`,
      `at most ${LARGEST_COMMAND} bytes`,
      "hand the command a file (copyTo), or write to its stdin",
    );
  }
}

export function checkAgentOptions(method: string, options: unknown): void {
  checkOptions(method, options, SIGNAL);
}

export function checkCopyTo(method: string, guestPath: unknown, options: unknown): void {
  checkGuestPath(`${method}: guestPath`, guestPath);
  checkOptions(method, options, { ...SIGNAL, owner: checkText, parents: checkBoolean, follow: checkBoolean });
}

export function checkCopyFrom(guestPath: unknown, options: unknown): void {
  checkGuestPath("copyFrom: guestPath", guestPath);
  checkOptions("copyFrom", options, {
    ...SIGNAL,
    follow: checkBoolean,
    limits: (where: string, value: unknown) =>
      checkOptions(where, value, { entries: checkCount, bytes: checkCount }),
  });
}

export function checkTime(value: unknown): void {
  // What a Date can hold.
  if (typeof value !== "number" || !(Math.abs(value) <= 8.64e15))
    throw new ArgumentError("setTime: time", value, "a number of milliseconds since 1970");
}

/** The number of a signal that is given by number or name. */
export function signalNumber(where: string, value: unknown): number {
  const number = typeof value === "string" ? constants.signals[value as NodeJS.Signals] : value;
  if (Number.isInteger(number) && (number as number) >= 1 && (number as number) <= LAST_SIGNAL)
    return number as number;
  throw new ArgumentError(where, value, `a signal, by its name or its number from 1 to ${LAST_SIGNAL}`);
}
