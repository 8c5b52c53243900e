/** The last bytes of a console, for those who come later. */
export class Scrollback {
  readonly #limit: number;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(bytes: Buffer): void {
    // A copy: what comes from a stream is a slice of something much larger. Never more than the limit is kept.
    this.#chunks.push(Buffer.from(bytes.subarray(-this.#limit)));
    this.#length += Math.min(bytes.length, this.#limit);
    while (this.#length - this.#chunks[0]!.length >= this.#limit)
      this.#length -= this.#chunks.shift()!.length;
    // Single characters would cost many times their size.
    if (this.#chunks.length > MOST_CHUNKS) this.#chunks = [Buffer.concat(this.#chunks)];
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks).subarray(-this.#limit);
  }
}

const MOST_CHUNKS = 256;
