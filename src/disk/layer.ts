/** One image of a chain: the guest's disk, or a backing file below it. */
import { COMPRESSED, DATA, ExtentList } from "./extents.ts";
import { type ImageFile, zeroFill } from "./image-file.ts";
import { IoVector } from "../ffi/iovec.ts";
import { memcpy } from "../ffi/libc.ts";

export interface ImageLayer {
  /** What the layer shows, in bytes. */
  readonly size: number;
  /**
   * Appends to `extents` where the bytes of [offset, offset + length) lie, as far as there is room.
   * Returns for how many bytes: at least one, for a list that is not full. The range lies within `size`.
   * Throws an ImageIoError.
   */
  map(offset: number, length: number, extents: ExtentList): number;
}

/** A raw image: byte n of the disk is byte n of the file. */
export class RawLayer implements ImageLayer {
  readonly size: number;
  readonly #file: ImageFile;

  constructor(file: ImageFile) {
    this.#file = file;
    this.size = file.size;
  }

  map(offset: number, length: number, extents: ExtentList): number {
    if (extents.full) return 0;
    extents.addData(this.#file, offset, length);
    return length;
  }
}

/** Reads through a layer into memory: the data half, which knows no image format. */
export class LayerReader {
  readonly #extents = new ExtentList();
  readonly #part = new IoVector();

  /** Fills `vector`, whose content is undefined afterwards. Throws an ImageIoError. */
  read(layer: ImageLayer, vector: IoVector, offset: number): void {
    const extents = this.#extents;
    for (let position = offset; vector.bytes > 0;) {
      extents.clear();
      const mapped = layer.map(position, vector.bytes, extents);
      if (extents.count === 1 && mapped === vector.bytes) {
        this.#transfer(extents, 0, vector);
        return;
      }
      for (let at = 0; at < extents.count; at++) {
        this.#part.clear();
        this.#part.take(vector, extents.length[at]!);
        this.#transfer(extents, at, this.#part);
      }
      position += mapped;
    }
  }

  #transfer(extents: ExtentList, at: number, vector: IoVector): void {
    const kind = extents.kind[at];
    if (kind === DATA) {
      extents.file[at]!.readv(vector, extents.offset[at]!);
    } else if (kind === COMPRESSED) {
      const source = extents.compressed[at]!;
      const address = source.unpack(
        extents.descriptorHigh[at]!,
        extents.descriptorLow[at]!,
        extents.offset[at]!,
        extents.length[at]!,
      );
      copyTo(vector, address);
    } else {
      zeroFill(vector);
    }
  }
}

function copyTo(vector: IoVector, address: number): void {
  for (let index = 0, from = address; index < vector.count; index++) {
    const length = vector.length(index);
    memcpy(vector.base(index), from, length);
    from += length;
  }
}
