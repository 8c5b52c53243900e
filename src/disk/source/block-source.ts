/** Bytes of a disk as the guest sees them, whatever the format of the image. Offsets and lengths in bytes, of any alignment. */
export interface BlockSource {
  readonly size: number;
  /** Exactly `length` bytes; asked for within `size` only. Throws TsvmError where the host cannot read them. */
  read(offset: number, length: number): Uint8Array;
}
