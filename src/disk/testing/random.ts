/** Random numbers that are the same each time, for a seed in words. */
export class Random {
  #state: number;

  constructor(seed: string) {
    this.#state = 0x9e37_79b9;
    for (const char of seed) this.#state = Math.imul(this.#state ^ char.codePointAt(0)!, 0x0100_0193);
  }

  /** 32 bits: the Mulberry32 generator. */
  next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** An integer from 0 to before `limit`. */
  below(limit: number): number {
    return this.next() % limit;
  }

  fill(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at++) bytes[at] = this.next();
  }
}
