/**
 * What programs hand to the functions of the library. TypeScript sees only literals; in JavaScript `{ timeout: "1s" }` would be no time at
 * all, and a misspelt option would count for nothing.
 */
import { isRegExp } from "node:util/types";
import { TsvmError } from "./errors.ts";
import { didYouMean } from "./suggestion.ts";

/** A function was called with what it cannot take; names function and argument. */
export class ArgumentError extends TsvmError {
  override name = "ArgumentError";
  constructor(where: string, value: unknown, expected: string, hint?: string) {
    super("ERR_ARGUMENT", `${where}: ${shown(value)} is not ${expected}`, { hint });
  }
}

/** A longer timer of Node's runs out at once. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;
const LARGEST_WINDOW = 0xffff;
const MOST_WORKERS = 1024;
const LAST_SIGNAL = 64;

/** For each option that a function has: throws an ArgumentError for what cannot stand there. */
type OptionChecks = Readonly<Record<string, (where: string, value: unknown) => void>>;

/** Throws an ArgumentError for what is no object, an option that does not exist, and what `checks` do not take. */
export function checkOptions(method: string, options: unknown, checks: OptionChecks, hint?: string): void {
  if (typeof options !== "object" || options === null) {
    throw new ArgumentError(`${method}: options`, options, "an object", hint);
  }
  const known = Object.keys(checks);
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(checks, key)) {
      const expected =
        known.length === 0 ? "an option: there are none" : `an option: they are ${known.join(", ")}`;
      throw new ArgumentError(method, key, expected, hint ?? didYouMean(key, known));
    }
    if (value !== undefined) checks[key]!(`${method}: ${key}`, value);
  }
}

export function checkTimeout(where: string, value: unknown): void {
  if (typeof value === "number" && value >= 0 && value <= LONGEST_TIMEOUT_MS) return;
  throw new ArgumentError(where, value, `a number of milliseconds from 0 to ${LONGEST_TIMEOUT_MS}`);
}

export function checkAbortSignal(where: string, value: unknown): void {
  // One of another realm is no instance of our class.
  if (typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value)
    return;
  throw new ArgumentError(where, value, "an AbortSignal");
}

export function checkPattern(where: string, value: unknown): void {
  if ((typeof value === "string" && value !== "") || isRegExp(value)) return;
  throw new ArgumentError(where, value, "a text to look for, or a RegExp");
}

export function checkWindowSize(where: string, value: unknown): void {
  const { rows, columns } = (value ?? {}) as { rows?: unknown; columns?: unknown };
  if ([rows, columns].every((size) => isWhole(size, 1, LARGEST_WINDOW))) return;
  throw new ArgumentError(where, value, `{ rows, columns }, both from 1 to ${LARGEST_WINDOW}`);
}

export function checkBytes(where: string, value: unknown): void {
  if (value instanceof Uint8Array) return;
  throw new ArgumentError(where, value, "a Uint8Array", "of a text: Buffer.from(text)");
}

export function checkListener(where: string, value: unknown): void {
  if (typeof value !== "function") throw new ArgumentError(where, value, "a function");
}

export function checkSignalNumber(where: string, value: unknown): void {
  if (isWhole(value, 1, LAST_SIGNAL)) return;
  const hint = typeof value === "string" ? "os.constants.signals has the numbers" : undefined;
  throw new ArgumentError(where, value, `the number of a signal, from 1 to ${LAST_SIGNAL}`, hint);
}

export function checkWorkerCount(where: string, value: unknown): void {
  if (isWhole(value, 0, MOST_WORKERS)) return;
  throw new ArgumentError(where, value, `a number of threads from 0 to ${MOST_WORKERS}`);
}

export function checkBalloonSize(where: string, value: unknown, memory: number): void {
  if (isWhole(value, 0, memory)) return;
  throw new ArgumentError(where, value, `a number of bytes from 0 to the ${memory} of the machine`);
}

export function checkPath(where: string, value: unknown): void {
  if (typeof value === "string" && !value.includes("\0")) return;
  throw new ArgumentError(where, value, "the path of a file");
}

export function checkOneOf(where: string, value: unknown, known: readonly string[]): void {
  if (known.includes(value as string)) return;
  throw new ArgumentError(where, value, `one of ${known.join(", ")}`);
}

function isWhole(value: unknown, least: number, most: number): boolean {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}

const LONGEST_SHOWN = 60;

function shown(value: unknown): string {
  let text: string;
  if (typeof value === "string") text = JSON.stringify(value);
  else if (typeof value === "function") text = "a function";
  else if (Array.isArray(value)) text = "a list";
  else if (typeof value === "object" && value !== null) text = inObject(value);
  else text = String(value);
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text;
}

function inObject(value: object): string {
  try {
    return JSON.stringify(value) ?? "an object";
  } catch {
    return "an object";
  }
}
