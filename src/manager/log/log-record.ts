/**
 * The log of a VM: one JSON array a line, `[time, stream, text]`. A byte of the guest is a character (Latin-1), so that
 * everything comes out again as it went in, half characters included.
 */

/** `console`: serial port and virtio console; `stdout`, `stderr`: of a command; `event`: what the monitor says. */
export type LogStream = "console" | "stdout" | "stderr" | "event";

export interface LogRecord {
  /** ms since 1970. */
  readonly time: number;
  readonly stream: LogStream;
  /** At most one line, with its line feed where it has one. */
  readonly bytes: Buffer;
}

/** Longer lines become several records. */
export const LONGEST_RECORD = 4096;

const LETTERS: Record<LogStream, string> = { console: "c", stdout: "o", stderr: "e", event: "m" };
const STREAMS: Readonly<Record<string, LogStream>> = { c: "console", o: "stdout", e: "stderr", m: "event" };

export function encodeRecord({ time, stream, bytes }: LogRecord): string {
  return `${JSON.stringify([time, LETTERS[stream], bytes.toString("latin1")])}\n`;
}

/** Undefined for what is no record: the rest of a line that a full disk has cut. */
export function decodeRecord(line: string): LogRecord | undefined {
  try {
    const [time, letter, text] = JSON.parse(line) as [unknown, unknown, unknown];
    const stream = STREAMS[String(letter)];
    if (typeof time !== "number" || stream === undefined || typeof text !== "string") return undefined;
    return { time, stream, bytes: Buffer.from(text, "latin1") };
  } catch {
    return undefined;
  }
}
