/** Counters in shared memory: one thread adds to them, any thread reads them. */

/** Counters with these names, from 0. A double each, so that they count beyond 2^32. */
export class Counters<const Name extends string> {
  readonly #names: readonly Name[];
  readonly #values: Float64Array;

  constructor(names: readonly Name[], buffer: SharedArrayBuffer, offset: number) {
    this.#names = names;
    this.#values = new Float64Array(buffer, offset, names.length);
  }

  /** Adds to the counter with number `index` in the list of names. */
  add(index: number, count = 1): void {
    this.#values[index]! += count;
  }

  get counts(): Counts<Name> {
    return Object.fromEntries(this.#names.map((name, index) => [name, this.#values[index]!])) as Counts<Name>;
  }
}

export type Counts<Name extends string> = Readonly<Record<Name, number>>;

/** The counters of one kind of device. */
export interface CounterSet<Name extends string> {
  /** What they take in shared memory. */
  readonly bytes: number;
  /** The number of each, for {@link Counters.add}. */
  readonly numbers: Counts<Name>;
  /** Those at `offset` of `buffer`; without one, some that nobody else sees. */
  readonly over: (buffer?: SharedArrayBuffer, offset?: number) => Counters<Name>;
}

export function defineCounters<const Name extends string>(...names: readonly Name[]): CounterSet<Name> {
  const bytes = names.length * Float64Array.BYTES_PER_ELEMENT;
  return {
    bytes,
    numbers: Object.fromEntries(names.map((name, index) => [name, index])) as Counts<Name>,
    over: (buffer = new SharedArrayBuffer(bytes), offset = 0) => new Counters(names, buffer, offset),
  };
}

/** What the counters of a set have counted. */
export type CountsOf<Set> = Set extends CounterSet<infer Name> ? Counts<Name> : never;

export type CountersOf<Set> = Set extends CounterSet<infer Name> ? Counters<Name> : never;
