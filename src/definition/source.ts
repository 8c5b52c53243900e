/** The text of a definition file, and where in it something stands. */
import { closeSync, readSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, resolve } from "node:path";
import { HEAD_SIZE, identifyFile } from "../boot/file-kind.ts";
import { openBootFile, readAt } from "../boot/read-at.ts";
import { BootFileError } from "../boot/errors.ts";
import { DefinitionError, type DefinitionProblem } from "./problem.ts";

/** Bytes. What people write is far smaller, and what is larger is likely the wrong file. */
export const LARGEST_FILE = 1 << 20;

/** Offsets into the text: the first character, and the one behind the last. */
export type Range = readonly [start: number, end: number];

export interface Position {
  /** From 1. */
  readonly line: number;
  /** In characters, from 1. */
  readonly column: number;
}

export class Source {
  /** As the user called it; `-` is standard input. */
  readonly path: string;
  readonly text: string;
  readonly directory: string;
  readonly #lineStarts: number[] = [0];

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
    this.directory = path === "-" ? process.cwd() : dirname(resolve(path));
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1))
      this.#lineStarts.push(at + 1);
  }

  /** Relative paths are relative to the file; `~/` is the user's home, which no shell is there to expand. */
  resolve(path: string): string {
    return path.startsWith("~/") ? resolve(homedir(), path.slice(2)) : resolve(this.directory, path);
  }

  position(offset: number): Position {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lineStarts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - this.#lineStarts[low]! + 1 };
  }

  /** The line that holds the start of the range, and a second one with `^^^` below the range. */
  excerpt([start, end]: Range): string | undefined {
    const { line, column } = this.position(start);
    const from = this.#lineStarts[line - 1]!;
    const to = this.#lineStarts[line] ?? this.text.length;
    const full = this.text.slice(from, to).trimEnd();
    if (full === "") return undefined;
    const first = Math.max(0, Math.min(column - 1, full.length) - WINDOW / 2);
    const before = printableColumns(full.slice(first, column - 1));
    const marked = printableColumns(full.slice(column - 1, Math.min(end - from, first + WINDOW)));
    const after = printableColumns(full.slice(column - 1 + marked.length, first + WINDOW));
    const number = `${line}`.padStart(4);
    const dots = first > 0 ? "…" : "";
    const mark = "^".repeat(Math.max(1, marked.length));
    return `${number} | ${dots}${before}${marked}${after}\n     | ${" ".repeat(dots.length + before.length)}${mark}`;
  }
}

/** Of a long line this many characters are shown. */
const WINDOW = 100;

/** One column per character, so that the mark stands below its place. */
function printableColumns(text: string): string {
  return text.replaceAll("\t", " ").replaceAll(/[^\x20-\x7e\xa0-\u1fff\u3000-\ud7ff]/g, "·");
}

/**
 * Reads the file at `path`, or standard input for `-`. Throws a DefinitionError if it is missing, larger than
 * {@link LARGEST_FILE}, or no UTF-8 text.
 */
export function readSource(path: string): Source {
  const bytes = path === "-" ? readStandardInput() : readLimited(path);
  if (bytes.length > LARGEST_FILE) throw tooLarge(path, bytes.length);
  if (bytes.length === 0) throw failure(path, "the file is empty", "a definition begins with version: 1");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw notText(path, bytes);
  }
  if (text.includes("\0")) throw notText(path, bytes);
  return new Source(path, text);
}

/** As much as tells whether it is too large. */
function readStandardInput(): Uint8Array {
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (size <= LARGEST_FILE) {
    const chunk = new Uint8Array(65_536);
    let length: number;
    try {
      length = readSync(0, chunk);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // Some shells and programs hand over a pipe that does not wait.
      if (code === "EAGAIN") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      else throw failure("-", `standard input cannot be read: ${message}`, undefined, error);
      continue;
    }
    if (length === 0) break;
    chunks.push(chunk.subarray(0, length));
    size += length;
  }
  return Buffer.concat(chunks);
}

function readLimited(path: string): Uint8Array {
  try {
    const file = openBootFile(path);
    try {
      if (file.size > LARGEST_FILE) throw tooLarge(path, file.size);
      return readAt(file, 0, file.size);
    } finally {
      closeSync(file.fd);
    }
  } catch (error) {
    if (!(error instanceof BootFileError)) throw error;
    // "web.yaml: no such file"
    throw failure(path, error.message.replace(`${path}: `, ""), error.hint, error);
  }
}

function tooLarge(path: string, size: number): DefinitionError {
  const mib = (bytes: number): string => `${(bytes / LARGEST_FILE).toFixed(1)} MiB`;
  return failure(
    path,
    `the file has ${mib(size)}, and a definition has at most ${mib(LARGEST_FILE)}`,
    "is this the right file?",
  );
}

function notText(path: string, bytes: Uint8Array): DefinitionError {
  const { role, description } = identifyFile(bytes.subarray(0, HEAD_SIZE), bytes.length);
  const looksLike =
    role === "other" || role === "text" ? "it is not UTF-8 text" : `it looks like ${description}`;
  return failure(
    path,
    `the file is no definition: ${looksLike}`,
    "a definition is YAML, JSON or libvirt's XML",
  );
}

function failure(path: string, message: string, hint?: string, cause?: unknown): DefinitionError {
  const problem: DefinitionProblem = { severity: "error", message, file: path };
  if (hint !== undefined) problem.hint = hint;
  return new DefinitionError([problem], cause);
}
