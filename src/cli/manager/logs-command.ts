/** `tsvm logs`: what a VM has printed, from its log; with --follow what it prints from now on, too. */
import { isatty } from "node:tty";
import { decodeRecord, type LogRecord } from "../../manager/log/log-record.ts";
import { followLines } from "../../manager/log/follow-lines.ts";
import { Manager } from "../../manager/manager.ts";
import { onOutputFailure, standardOutput } from "../output.ts";
import { UsageError } from "../errors.ts";
import { parseCount } from "../values.ts";
import { parseMoment } from "./quantities.ts";

export interface LogsFlags {
  readonly follow?: boolean;
  readonly tail?: string;
  readonly since?: string;
  readonly until?: string;
  readonly timestamps?: boolean;
  /** Of the guest alone, without what its monitor says. */
  readonly events: boolean;
  readonly json?: boolean;
}

export async function logsCommand(name: string, flags: LogsFlags): Promise<void> {
  const manager = new Manager();
  const vm = manager.store.get(name);
  manager.noticeLosses([vm]);
  const tail = flags.tail === undefined || flags.tail === "all" ? Infinity : parseCount("--tail", flags.tail);
  const since = flags.since === undefined ? 0 : parseMoment("--since", flags.since);
  const until = flags.until === undefined ? Infinity : parseMoment("--until", flags.until);
  if (since > until) throw new UsageError("--since is later than --until");
  const controller = new AbortController();
  const unwatch = onOutputFailure(() => controller.abort());
  const printer = new LogPrinter(flags);
  const history = new History(tail);
  let caughtUp = false;
  const lines = followLines(vm.logPath, {
    follow: flags.follow === true,
    ended: () => {
      if (!vm.exists()) return true;
      if (vm.isHeld) return false;
      // The last line of one whose monitor could not write it.
      return manager.noticeLosses([vm]);
    },
    caughtUp: () => {
      caughtUp = true;
      for (const record of history.records) printer.print(record);
    },
    signal: controller.signal,
  });
  try {
    for await (const line of lines) {
      const record = decodeRecord(line);
      if (record === undefined || record.time < since || (record.stream === "event" && !flags.events))
        continue;
      if (record.time > until) break;
      if (!caughtUp) history.push(record);
      else if (!printer.print(record)) await printer.drained();
    }
    if (!caughtUp) for (const record of history.records) printer.print(record);
  } finally {
    unwatch();
  }
}

/** The last lines: records up to a line feed, but for those of a stream that has not finished its line. */
class History {
  readonly #lines: number;
  #records: LogRecord[] = [];
  #complete = 0;

  constructor(lines: number) {
    this.#lines = lines;
  }

  push(record: LogRecord): void {
    this.#records.push(record);
    if (isComplete(record)) this.#complete++;
    // In steps: shifting each time would take the square of it.
    if (this.#records.length > 2 * this.#lines + SLACK) this.#trim();
  }

  get records(): readonly LogRecord[] {
    this.#trim();
    return this.#records;
  }

  #trim(): void {
    let from = 0;
    const unfinished = this.#records.length > 0 && !isComplete(this.#records.at(-1)!) ? 1 : 0;
    while (this.#complete + unfinished > this.#lines && from < this.#records.length) {
      if (isComplete(this.#records[from++]!)) this.#complete--;
    }
    if (this.#lines === 0) from = this.#records.length;
    this.#records = this.#records.slice(from);
  }
}

const SLACK = 1000;
const LINE_FEED = 10;

function isComplete({ bytes }: LogRecord): boolean {
  return bytes.at(-1) === LINE_FEED;
}

/** Output to stdout, what went to stderr and what the monitor says to stderr. */
class LogPrinter {
  readonly #timestamps: boolean;
  readonly #json: boolean;
  /** Whether the last record of a stream ended its line. */
  readonly #atLineStart = new Map<string, boolean>();
  #full: NodeJS.WriteStream | undefined;

  constructor({ timestamps = false, json = false }: LogsFlags) {
    this.#timestamps = timestamps;
    this.#json = json;
  }

  /** False when the reader is behind: wait for {@link drained}. */
  print(record: LogRecord): boolean {
    const { time, stream, bytes } = record;
    const stdout = standardOutput();
    if (this.#json) {
      return this.#write(
        stdout,
        Buffer.from(`${JSON.stringify({ time: iso(time), stream, text: bytes.toString() })}\n`),
      );
    }
    const atStart = this.#atLineStart.get(stream) ?? true;
    this.#atLineStart.set(stream, isComplete(record));
    const parts = [bytes];
    if (stream === "event")
      parts[0] = Buffer.from(`${this.#lineBreak()}[tsvm: ${bytes.toString().trimEnd()}]\n`);
    if (this.#timestamps && atStart) parts.unshift(Buffer.from(`${iso(time)} `));
    return this.#write(
      stream === "stderr" || stream === "event" ? process.stderr : stdout,
      Buffer.concat(parts),
    );
  }

  /** On a terminal, where the two streams meet, an unfinished line ends before the monitor has its say. */
  #lineBreak(): string {
    const unfinished = [...this.#atLineStart].filter(([, atStart]) => !atStart);
    if (unfinished.length === 0 || !isatty(1) || !isatty(2)) return "";
    for (const [stream] of unfinished) this.#atLineStart.set(stream, true);
    return "\n";
  }

  async drained(): Promise<void> {
    const stream = this.#full;
    this.#full = undefined;
    if (stream === undefined || stream.destroyed || !stream.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      stream.once("drain", resolve).once("close", resolve).once("error", resolve);
    });
  }

  #write(stream: NodeJS.WriteStream, bytes: Buffer): boolean {
    if (stream.write(bytes)) return true;
    this.#full = stream;
    return false;
  }
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
