/** Counters in shared memory: one thread adds to them, any thread reads them. */

/** Counters with these names, from 0. A double each, so that they count beyond 2^32. */
export class Counters<const Name extends string> {
  static bytes(names: readonly string[]): number {
    return names.length * 8;
  }

  readonly #names: readonly Name[];
  readonly #values: Float64Array;

  constructor(
    names: readonly Name[],
    buffer: SharedArrayBuffer = new SharedArrayBuffer(Counters.bytes(names)),
    offset = 0,
  ) {
    this.#names = names;
    this.#values = new Float64Array(buffer, offset, names.length);
  }

  /** Adds to the counter with number `index` in the list of names. */
  add(index: number, count = 1): void {
    this.#values[index]! += count;
  }

  get counts(): Readonly<Record<Name, number>> {
    return Object.fromEntries(this.#names.map((name, index) => [name, this.#values[index]!])) as Readonly<
      Record<Name, number>
    >;
  }
}
