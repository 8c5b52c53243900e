/**
 * Which clusters of the file hold tables of the image that is written to. A damaged or hostile image may point to them as
 * guest data, or call them free: every write of guest data and every allocation asks here first.
 */
export class MetadataClusters {
  readonly #sorted: Float64Array;
  /** Taken and given back since. */
  readonly #added = new Set<number>();
  readonly #removed = new Set<number>();

  /** @param clusters Cluster numbers, each once; it is sorted in place. */
  constructor(clusters: Float64Array) {
    this.#sorted = clusters.sort();
  }

  /** A cluster that is listed twice, or undefined. */
  get duplicate(): number | undefined {
    const sorted = this.#sorted;
    for (let index = 1; index < sorted.length; index++) {
      if (sorted[index] === sorted[index - 1]) return sorted[index];
    }
    return undefined;
  }

  /** Whether any of `count` clusters from `first` on is one of them. */
  overlaps(first: number, count: number): boolean {
    const sorted = this.#sorted;
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sorted[middle]! < first) low = middle + 1;
      else high = middle;
    }
    for (; low < sorted.length && sorted[low]! < first + count; low++) {
      if (this.#removed.size === 0 || !this.#removed.has(sorted[low]!)) return true;
    }
    if (this.#added.size > 0) {
      for (let cluster = first; cluster < first + count; cluster++) if (this.#added.has(cluster)) return true;
    }
    return false;
  }

  add(cluster: number): void {
    if (!this.#removed.delete(cluster)) this.#added.add(cluster);
  }

  remove(cluster: number): void {
    if (!this.#added.delete(cluster)) this.#removed.add(cluster);
  }
}
