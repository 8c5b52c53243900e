import { LONGEST_RECORD } from "./log-record.ts";

/** How long the beginning of a line waits for its end: a prompt has none. */
const PATIENCE_MS = 100;
const LINE_FEED = 10;

/** Cuts a stream into lines; one that stays unfinished, or gets too long, comes in parts. */
export class LineCollector {
  readonly #emit: (bytes: Buffer) => void;
  #rest: Buffer[] = [];
  #length = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(emit: (bytes: Buffer) => void) {
    this.#emit = emit;
  }

  push(bytes: Buffer): void {
    let start = 0;
    while (start < bytes.length) {
      const limit = Math.min(bytes.length, start + LONGEST_RECORD - this.#length);
      const at = bytes.subarray(start, limit).indexOf(LINE_FEED);
      const end = at < 0 ? limit : start + at + 1;
      this.#rest.push(bytes.subarray(start, end));
      this.#length += end - start;
      if (at >= 0 || this.#length >= LONGEST_RECORD) this.flush();
      start = end;
    }
    if (this.#length > 0) this.#timer ??= setTimeout(() => this.flush(), PATIENCE_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#length === 0) return;
    const line = this.#rest.length === 1 ? this.#rest[0]! : Buffer.concat(this.#rest);
    this.#rest = [];
    this.#length = 0;
    this.#emit(line);
  }
}
