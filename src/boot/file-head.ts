/** The first bytes of a file, for looking at magic numbers: reading beyond them is no error, just no match. */
export class FileHead {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether these bytes, or the Latin-1 characters of this text, stand at `offset`. */
  has(offset: number, magic: string | readonly number[]): boolean {
    if (offset < 0 || offset + magic.length > this.bytes.length) return false;
    for (let index = 0; index < magic.length; index++) {
      const expected = typeof magic === "string" ? magic.charCodeAt(index) : magic[index];
      if (this.bytes[offset + index] !== expected) return false;
    }
    return true;
  }

  /** The byte at `offset`; 0 beyond the end. */
  u8(offset: number): number {
    return this.bytes[offset] ?? 0;
  }

  /** The little-endian 16-bit value at `offset`; 0 beyond the end. */
  u16(offset: number): number {
    return offset + 2 <= this.bytes.length ? this.#view.getUint16(offset, true) : 0;
  }

  /** The little-endian 32-bit value at `offset`; 0 beyond the end. */
  u32(offset: number): number {
    return offset + 4 <= this.bytes.length ? this.#view.getUint32(offset, true) : 0;
  }

  /** Whether all bytes of [start, end) are zero. */
  isZero(start = 0, end = this.bytes.length): boolean {
    return this.bytes.subarray(start, end).every((byte) => byte === 0);
  }
}
