/** Runs of clusters that lose a reference as soon as the tables without it are on stable storage. */
export class PendingFrees {
  readonly #first: number[] = [];
  readonly #count: number[] = [];

  get runs(): number {
    return this.#first.length;
  }

  /** A cluster may be added more than once: each time it loses one reference more. */
  add(first: number, count: number): void {
    const last = this.#first.length - 1;
    if (last >= 0 && this.#first[last]! + this.#count[last]! === first) this.#count[last]! += count;
    else {
      this.#first.push(first);
      this.#count.push(count);
    }
  }

  /** Forgets them, one after the other. */
  drain(lower: (first: number, count: number) => void): void {
    for (let index = 0; index < this.#first.length; index++) lower(this.#first[index]!, this.#count[index]!);
    this.#first.length = this.#count.length = 0;
  }
}
