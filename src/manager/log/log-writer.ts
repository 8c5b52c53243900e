/**
 * Writes a VM's log. Bounded in every direction: two files of {@link LARGEST_FILE} at most, and at most {@link LARGEST_QUEUE} that
 * wait for the disk; what is beyond that, or finds the disk full, is lost, and the log says how much.
 */
import { close, fstat, open, rename, write } from "node:fs";
import { promisify } from "node:util";
import { LineCollector } from "./line-collector.ts";
import { encodeRecord, type LogStream } from "./log-record.ts";

export const LARGEST_FILE = 4 * 2 ** 20;
const LARGEST_QUEUE = 2 ** 20;

const [closeFile, statFile, openFile, renameFile, writeFile] = [
  promisify(close),
  promisify(fstat),
  promisify(open),
  promisify(rename),
  promisify(write),
];

export class LogWriter {
  readonly #path: string;
  readonly #largestFile: number;
  readonly #collectors = new Map<LogStream, LineCollector>();
  #queue: string[] = [];
  #queued = 0;
  /** Bytes that are missing in front of the queue, since they could not be written, and behind it, since it was full. */
  #lostBefore = 0;
  #lostBehind = 0;
  #fd: number | undefined;
  #size = 0;
  /** Something may stand in the file that has no end of line: a full disk cut it. */
  #torn = true;
  #draining: Promise<void> | undefined;

  constructor(path: string, largestFile = LARGEST_FILE) {
    this.#path = path;
    this.#largestFile = largestFile;
  }

  push(stream: Exclude<LogStream, "event">, bytes: Buffer): void {
    let collector = this.#collectors.get(stream);
    if (collector === undefined) {
      collector = new LineCollector((line) => this.#add(stream, line));
      this.#collectors.set(stream, collector);
    }
    collector.push(bytes);
  }

  /** A line about the VM, behind all that the guest has written so far. */
  event(text: string): void {
    this.#flushLines();
    this.#add("event", Buffer.from(`${text}\n`));
  }

  /** Resolves when all is written, or lost. */
  async close(): Promise<void> {
    this.#flushLines();
    await this.#draining;
    if (this.#fd !== undefined) await closeFile(this.#fd).catch(() => undefined);
    this.#fd = undefined;
  }

  #flushLines(): void {
    for (const collector of this.#collectors.values()) collector.flush();
  }

  #add(stream: LogStream, bytes: Buffer): void {
    if (this.#queued >= LARGEST_QUEUE) {
      this.#lostBehind += bytes.length;
      return;
    }
    const line = encodeRecord({ time: Date.now(), stream, bytes });
    this.#queue.push(line);
    this.#queued += line.length;
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
    });
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      const lines = this.#queue;
      const [before, behind] = [this.#lostBefore, this.#lostBehind];
      this.#queue = [];
      this.#queued = 0;
      this.#lostBehind = 0;
      const text = [lossNote(before), ...lines, lossNote(behind)].join("");
      try {
        await this.#write(Buffer.from(text));
        this.#lostBefore = 0;
      } catch {
        this.#torn = true;
        this.#lostBefore = before + lines.join("").length + behind;
      }
    }
  }

  async #write(bytes: Buffer): Promise<void> {
    if (this.#fd === undefined) {
      this.#fd = await openFile(this.#path, "a", 0o600);
      this.#size = (await statFile(this.#fd)).size;
    }
    if (this.#size >= this.#largestFile) await this.#rotate();
    const whole = this.#torn && this.#size > 0 ? Buffer.concat([Buffer.from("\n"), bytes]) : bytes;
    let at = 0;
    while (at < whole.length) {
      const written = (await writeFile(this.#fd, whole, at)).bytesWritten;
      at += written;
      this.#size += written;
    }
    this.#torn = false;
  }

  async #rotate(): Promise<void> {
    await renameFile(this.#path, `${this.#path}.1`);
    await closeFile(this.#fd!);
    this.#fd = undefined;
    this.#fd = await openFile(this.#path, "a", 0o600);
    this.#size = 0;
  }
}

function lossNote(bytes: number): string {
  if (bytes === 0) return "";
  const note = Buffer.from(`${bytes} bytes of output were lost: the disk was full or too slow\n`);
  return encodeRecord({ time: Date.now(), stream: "event", bytes: note });
}
