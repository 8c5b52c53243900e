/** Takes lines out of a stream of bytes. */
const LINE_FEED = 10;

export class LineDecoder {
  readonly #longest: number;
  #parts: Buffer[] = [];
  #length = 0;

  /** Lines of more than `longest` bytes make {@link push} throw a RangeError. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** The lines that are complete now, without their line feeds. */
  *push(bytes: Buffer): Generator<string> {
    let start = 0;
    for (;;) {
      const at = bytes.indexOf(LINE_FEED, start);
      const end = at < 0 ? bytes.length : at;
      this.#length += end - start;
      if (this.#length > this.#longest) throw new RangeError(`a line of more than ${this.#longest} bytes`);
      this.#parts.push(bytes.subarray(start, end));
      if (at < 0) return;
      const line = Buffer.concat(this.#parts).toString("utf8");
      this.#parts = [];
      this.#length = 0;
      start = at + 1;
      yield line;
    }
  }
}
