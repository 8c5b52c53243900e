/** One contiguous piece of guest RAM. */
export interface RamRegion {
  /** Guest physical address of the first byte. */
  readonly gpa: number;
  /** Bytes. */
  readonly size: number;
}

/** What boot code needs of guest memory: bounds-checked access by guest physical address. */
export interface GuestRam {
  /** RAM, ascending, without overlap. The hole below 4 GiB is the gap between two regions. */
  readonly regions: readonly RamRegion[];
  /** Whether all of [gpa, gpa + length) lies inside one RAM region. */
  contains(gpa: number, length: number): boolean;
  /** Copies `bytes` in. Throws where the range is not RAM. */
  write(gpa: number, bytes: Uint8Array): void;
  /** A copy of `length` bytes. Throws where the range is not RAM. */
  read(gpa: number, length: number): Uint8Array;
  /** Reads `length` bytes of the open file `fd` at `offset` straight into guest memory. Throws where the range is not RAM or the file ends early. */
  readFile(gpa: number, fd: number, offset: number, length: number): void;
}
