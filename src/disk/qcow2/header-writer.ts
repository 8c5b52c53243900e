/** Changes single fields of the header, whose first 512 bytes are written as one. */
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { ImageFile } from "../image-file.ts";
import { HEADER, INCOMPATIBLE_CORRUPT, INCOMPATIBLE_DIRTY, SECTOR } from "./format.ts";

export class HeaderWriter {
  readonly #file: ImageFile;
  readonly #native = allocateNative(SECTOR);
  readonly #view: DataView;

  /** Throws an ImageIoError. */
  constructor(file: ImageFile) {
    this.#file = file;
    file.read(this.#native.address, SECTOR, 0);
    this.#view = new DataView(this.#native.buffer);
  }

  setRefcountTable(offset: number, clusters: number): void {
    this.#view.setUint32(HEADER.refcountTableOffset, Math.floor(offset / 2 ** 32));
    this.#view.setUint32(HEADER.refcountTableOffset + 4, offset % 2 ** 32);
    this.#view.setUint32(HEADER.refcountTableClusters, clusters);
    this.#write();
  }

  /** Of a version 3 header. */
  markCorrupt(): void {
    this.#setIncompatible((features) => features | INCOMPATIBLE_CORRUPT);
  }

  /** Of a version 3 header. */
  clearDirty(): void {
    this.#setIncompatible((features) => features & ~INCOMPATIBLE_DIRTY);
  }

  /** Of a version 3 header: whatever these features describe is not kept up to date from now on. */
  clearAutoclear(): void {
    this.#view.setUint32(HEADER.autoclearFeatures, 0);
    this.#view.setUint32(HEADER.autoclearFeatures + 4, 0);
    this.#write();
  }

  #setIncompatible(change: (features: number) => number): void {
    const at = HEADER.incompatibleFeatures + 4;
    this.#view.setUint32(at, change(this.#view.getUint32(at)));
    this.#write();
  }

  #write(): void {
    this.#file.write(this.#native.address, SECTOR, 0);
  }
}
