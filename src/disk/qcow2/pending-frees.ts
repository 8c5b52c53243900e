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

  /** Forgets each before it is lowered: one that fails is leaked, and never lowered twice. */
  drain(lower: (first: number, count: number) => void): void {
    while (this.#first.length > 0) lower(this.#first.pop()!, this.#count.pop()!);
  }
}
