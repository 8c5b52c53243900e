/** A qcow2 image as a layer that is read: what its tables say, and the layer below where they say nothing. */
import type { CompressedSource, ExtentList } from "../extents.ts";
import type { ImageFile } from "../image-file.ts";
import { CorruptImageError } from "../io-error.ts";
import type { ImageLayer } from "../layer.ts";
import type { ClusterMap } from "./cluster-map.ts";
import { COMPRESSED_HIGH, entryOffset, ZERO_LOW } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import { NONE } from "./slice-cache.ts";

/** Of the lower half of an entry: the bits that a cluster's offset has not, and that are no flags. */
const UNALIGNED = 0xffff_fe00;
/** Requests of more clusters than this are not looked at twice. */
const MAX_CONTIGUOUS = 64;

export interface Qcow2LayerParts {
  readonly header: Qcow2Header;
  readonly file: ImageFile;
  readonly clusters: ClusterMap;
  readonly compressed: CompressedSource;
  /** Undefined: what is not allocated reads as zeros. */
  readonly backing: ImageLayer | undefined;
}

export class Qcow2Layer implements ImageLayer {
  readonly size: number;
  readonly backing: ImageLayer | undefined;
  readonly #header: Qcow2Header;
  readonly #file: ImageFile;
  readonly #clusters: ClusterMap;
  readonly #compressed: CompressedSource;
  readonly #clusterSize: number;
  readonly #misaligned: number;

  constructor({ header, file, clusters, compressed, backing }: Qcow2LayerParts) {
    this.size = header.size;
    this.backing = backing;
    this.#header = header;
    this.#file = file;
    this.#clusters = clusters;
    this.#compressed = compressed;
    this.#clusterSize = header.clusterSize;
    this.#misaligned = (header.clusterSize - 1) & UNALIGNED;
  }

  /** Whether anything shows through where guest cluster `cluster` is not allocated. */
  hasBelow(cluster: number): boolean {
    return this.backing !== undefined && cluster * this.#clusterSize < this.backing.size;
  }

  map(offset: number, length: number, extents: ExtentList): number {
    const size = this.#clusterSize;
    let mapped = 0;
    while (mapped < length && !extents.full) {
      const position = offset + mapped;
      const cluster = Math.floor(position / size);
      const within = position & (size - 1);
      const bytes = Math.min(length - mapped, size - within);
      const slot = this.#clusters.slotOf(cluster);
      if (slot === NONE) {
        const done = this.#mapUnallocated(
          position,
          this.#missingTable(cluster, within, length - mapped),
          extents,
        );
        mapped += done;
        if (done === 0) break;
        continue;
      }
      const at = this.#clusters.entryAt(slot, cluster);
      const view = this.#clusters.cache.view;
      const high = view.getUint32(at);
      const low = view.getUint32(at + 4);
      if ((high & COMPRESSED_HIGH) !== 0) {
        extents.addCompressed(this.#compressed, high, low, within, bytes);
        mapped += bytes;
      } else if ((low & ZERO_LOW) !== 0) {
        this.checkZeroFlag(cluster);
        extents.addZero(bytes);
        mapped += bytes;
      } else {
        const host = entryOffset(high, low);
        if (host === 0) {
          const done = this.#mapUnallocated(position, bytes, extents);
          mapped += done;
          if (done < bytes) break;
        } else {
          this.checkHost(cluster, host, low);
          extents.addData(this.#file, host + within, bytes);
          mapped += bytes;
        }
      }
    }
    return mapped;
  }

  /**
   * Where in the file the bytes of [offset, offset + length) are, if they are data and lie there in one piece; otherwise -1,
   * and {@link map} tells. `flags` must be set in the upper half of each entry. Throws an ImageIoError.
   */
  contiguous(offset: number, length: number, flags: number): number {
    const size = this.#clusterSize;
    const clusters = this.#clusters;
    const { view } = clusters.cache;
    const first = Math.floor(offset / size);
    const within = offset & (size - 1);
    const count = Math.ceil((within + length) / size);
    if (count > MAX_CONTIGUOUS) return -1;
    let start = 0;
    for (let index = 0; index < count; index++) {
      const cluster = first + index;
      const slot = clusters.slotOf(cluster);
      if (slot === NONE) return -1;
      const at = clusters.entryAt(slot, cluster);
      const high = view.getUint32(at);
      const low = view.getUint32(at + 4);
      if ((high & COMPRESSED_HIGH) !== 0 || (low & ZERO_LOW) !== 0 || (high & flags) !== (flags | 0))
        return -1;
      const host = entryOffset(high, low);
      if (host === 0) return -1;
      this.checkHost(cluster, host, low);
      if (index === 0) start = host;
      else if (host !== start + index * size) return -1;
    }
    return start + within;
  }

  /** Throws a CorruptImageError unless data of guest cluster `cluster` can be at `host` of the file. */
  checkHost(cluster: number, host: number, low: number): void {
    if ((low & this.#misaligned) === 0 && host < this.#file.size) return;
    throw new CorruptImageError(this.#file.path, `guest cluster ${cluster} is at ${host}`);
  }

  /** Version 2 has no clusters that read as zeros. */
  checkZeroFlag(cluster: number): void {
    if (this.#header.version >= 3) return;
    throw new CorruptImageError(
      this.#file.path,
      `guest cluster ${cluster} has the zero flag, which version 2 does not know`,
    );
  }

  /** How many of `length` bytes lie in the same missing L2 table. */
  #missingTable(cluster: number, within: number, length: number): number {
    const entries = this.#clusters.l2Entries;
    return Math.min(length, (entries - (cluster % entries)) * this.#clusterSize - within);
  }

  /** What is below, or zeros where the layer below has ended. Returns how many bytes there was room for. */
  #mapUnallocated(offset: number, length: number, extents: ExtentList): number {
    const { backing } = this;
    const below = backing === undefined ? 0 : Math.min(length, Math.max(0, backing.size - offset));
    const mapped = below === 0 ? 0 : backing!.map(offset, below, extents);
    if (mapped < below || mapped === length || extents.full) return mapped;
    extents.addZero(length - mapped);
    return length;
  }
}
