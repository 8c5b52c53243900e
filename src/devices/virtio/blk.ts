/**
 * Block device, virtio 1.2 section 5.2. A request is a stream of bytes in its chain, whatever the buffer boundaries: 16 bytes
 * of header and the data to write in the readable part, the data read and one status byte in the writable part.
 */
import type { BlockBackend } from "../../disk/backend.ts";
import { IoVector } from "../../ffi/iovec.ts";
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import { byteAddress, gather, VirtioBackend } from "./backend.ts";
import { VIRTIO_ID_BLOCK } from "./constants.ts";
import { VirtqueueError, type DescriptorChain } from "./queue.ts";
import type { VirtioModel, VirtioState } from "./state.ts";

const SECTOR = 512;

const VIRTIO_BLK_F_SIZE_MAX = 1;
const VIRTIO_BLK_F_SEG_MAX = 2;
const VIRTIO_BLK_F_RO = 5;
const VIRTIO_BLK_F_BLK_SIZE = 6;
const VIRTIO_BLK_F_FLUSH = 9;
const VIRTIO_BLK_F_DISCARD = 13;
const VIRTIO_BLK_F_WRITE_ZEROES = 14;

const VIRTIO_BLK_T_IN = 0;
const VIRTIO_BLK_T_OUT = 1;
const VIRTIO_BLK_T_FLUSH = 4;
const VIRTIO_BLK_T_GET_ID = 8;
const VIRTIO_BLK_T_DISCARD = 11;
const VIRTIO_BLK_T_WRITE_ZEROES = 13;

const VIRTIO_BLK_S_OK = 0;
const VIRTIO_BLK_S_IOERR = 1;
const VIRTIO_BLK_S_UNSUPP = 2;

const VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1;

const HEADER_BYTES = 16;
const RANGE_BYTES = 16;
export const SERIAL_BYTES = 20;

const QUEUE_SIZE = 256;
/** Bytes in one buffer, and buffers in one request: together they bound what one request may move. */
const SIZE_MAX = 1 << 20;
const SEG_MAX = 126;
const MAX_DISCARD_RANGES = 16;
/** Where the host has to write the zeros, each range costs it time. */
const MAX_WRITE_ZEROES_RANGES = 1;
const MAX_RANGE_SECTORS = 1 << 22;

export interface BlkOptions {
  /** Bytes, a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
}

export function blkModel({ size, readOnly }: BlkOptions): VirtioModel {
  const config = new Uint8Array(60);
  const view = new DataView(config.buffer);
  view.setBigUint64(0, BigInt(size / SECTOR), true); // capacity
  view.setUint32(8, SIZE_MAX, true); // size_max
  view.setUint32(12, SEG_MAX, true); // seg_max
  view.setUint32(20, SECTOR, true); // blk_size
  view.setUint16(34, 1, true); // num_queues
  view.setUint32(36, MAX_RANGE_SECTORS, true); // max_discard_sectors
  view.setUint32(40, MAX_DISCARD_RANGES, true); // max_discard_seg
  view.setUint32(44, 1, true); // discard_sector_alignment
  view.setUint32(48, MAX_RANGE_SECTORS, true); // max_write_zeroes_sectors
  view.setUint32(52, MAX_WRITE_ZEROES_RANGES, true); // max_write_zeroes_seg
  view.setUint8(56, 1); // write_zeroes_may_unmap
  return {
    deviceId: VIRTIO_ID_BLOCK,
    features: [
      VIRTIO_BLK_F_SIZE_MAX,
      VIRTIO_BLK_F_SEG_MAX,
      VIRTIO_BLK_F_BLK_SIZE,
      VIRTIO_BLK_F_FLUSH,
      ...(readOnly ? [VIRTIO_BLK_F_RO] : [VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES]),
    ],
    queueSizes: [QUEUE_SIZE],
    config,
  };
}

export class VirtioBlk extends VirtioBackend {
  readonly #disk: BlockBackend;
  readonly #readOnly: boolean;
  /** At most 20 ASCII bytes, as /sys/block/vda/serial shows it. */
  readonly #serial: Uint8Array;
  readonly #vector = new IoVector();
  readonly #sectors: number;

  constructor(
    state: VirtioState,
    memory: GuestMemory,
    disk: BlockBackend,
    options: { readOnly: boolean; serial: string },
  ) {
    super(state, memory);
    this.#disk = disk;
    this.#readOnly = options.readOnly;
    this.#serial = new TextEncoder().encode(options.serial).subarray(0, SERIAL_BYTES);
    this.#sectors = disk.size / SECTOR;
  }

  protected override handle(_index: number, chain: DescriptorChain): number {
    if (chain.writableBytes < 1) throw new VirtqueueError("block request without a status byte");
    const statusAt = byteAddress(chain, "writable", chain.writableBytes - 1);
    let status = VIRTIO_BLK_S_IOERR;
    let written = 1;
    if (chain.readableBytes >= HEADER_BYTES) {
      const type = this.#readUint32(chain, 0);
      const sector = this.#readUint32(chain, 12) * 2 ** 32 + this.#readUint32(chain, 8);
      status = this.#execute(type, sector, chain);
      if (status === VIRTIO_BLK_S_OK && (type === VIRTIO_BLK_T_IN || type === VIRTIO_BLK_T_GET_ID)) {
        written = chain.writableBytes;
      }
    }
    this.memory.setUint8(statusAt, status);
    return written;
  }

  protected override reset(): void {
    // Requests are finished one by one: there is nothing between them.
  }

  #execute(type: number, sector: number, chain: DescriptorChain): number {
    switch (type) {
      case VIRTIO_BLK_T_IN:
        return this.#transfer(chain, "writable", 0, chain.writableBytes - 1, sector);
      case VIRTIO_BLK_T_OUT:
        if (this.#readOnly) return VIRTIO_BLK_S_IOERR;
        return this.#transfer(chain, "readable", HEADER_BYTES, chain.readableBytes - HEADER_BYTES, sector);
      case VIRTIO_BLK_T_FLUSH:
        return this.#status(this.#readOnly ? 0 : this.#disk.flush());
      case VIRTIO_BLK_T_GET_ID:
        return this.#getId(chain);
      case VIRTIO_BLK_T_DISCARD:
      case VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#ranges(type, chain);
      default:
        return VIRTIO_BLK_S_UNSUPP;
    }
  }

  #transfer(
    chain: DescriptorChain,
    part: "readable" | "writable",
    skip: number,
    bytes: number,
    sector: number,
  ): number {
    if (bytes % SECTOR !== 0 || bytes > SIZE_MAX * SEG_MAX || !this.#inRange(sector, bytes / SECTOR)) {
      return VIRTIO_BLK_S_IOERR;
    }
    if (bytes === 0) return VIRTIO_BLK_S_OK;
    const vector = this.#vector;
    gather(vector, chain, part, skip, bytes);
    if (vector.bytes !== bytes) return VIRTIO_BLK_S_IOERR;
    const offset = sector * SECTOR;
    return this.#status(
      part === "writable" ? this.#disk.read(vector, offset) : this.#disk.write(vector, offset),
    );
  }

  #getId(chain: DescriptorChain): number {
    if (chain.writableBytes - 1 < SERIAL_BYTES) return VIRTIO_BLK_S_IOERR;
    for (let index = 0; index < SERIAL_BYTES; index++) {
      this.memory.setUint8(byteAddress(chain, "writable", index), this.#serial[index] ?? 0);
    }
    return VIRTIO_BLK_S_OK;
  }

  /** Section 5.2.6.2: all ranges are checked before any of them is touched. */
  #ranges(type: number, chain: DescriptorChain): number {
    if (this.#readOnly) return VIRTIO_BLK_S_IOERR;
    const count = (chain.readableBytes - HEADER_BYTES) / RANGE_BYTES;
    const most = type === VIRTIO_BLK_T_DISCARD ? MAX_DISCARD_RANGES : MAX_WRITE_ZEROES_RANGES;
    if (!Number.isInteger(count) || count < 1 || count > most) return VIRTIO_BLK_S_IOERR;
    const ranges: { sector: number; sectors: number; unmap: boolean }[] = [];
    for (let index = 0; index < count; index++) {
      const at = HEADER_BYTES + index * RANGE_BYTES;
      const sector = this.#readUint32(chain, at + 4) * 2 ** 32 + this.#readUint32(chain, at);
      const sectors = this.#readUint32(chain, at + 8);
      const flags = this.#readUint32(chain, at + 12);
      const allowed = type === VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
      if ((flags & ~allowed) !== 0) return VIRTIO_BLK_S_UNSUPP;
      if (sectors > MAX_RANGE_SECTORS || !this.#inRange(sector, sectors)) return VIRTIO_BLK_S_IOERR;
      ranges.push({ sector, sectors, unmap: flags !== 0 });
    }
    for (const { sector, sectors, unmap } of ranges) {
      if (sectors === 0) continue;
      const error =
        type === VIRTIO_BLK_T_DISCARD
          ? this.#disk.discard(sector * SECTOR, sectors * SECTOR)
          : this.#disk.writeZeroes(sector * SECTOR, sectors * SECTOR, unmap);
      if (error !== 0) return VIRTIO_BLK_S_IOERR;
    }
    return VIRTIO_BLK_S_OK;
  }

  #inRange(sector: number, sectors: number): boolean {
    return sector <= this.#sectors && sectors <= this.#sectors - sector;
  }

  #status(errno: number): number {
    return errno === 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
  }

  /** The 32-bit value at `offset` of the readable part; the caller has checked that it is long enough. */
  #readUint32(chain: DescriptorChain, offset: number): number {
    if (offset + 4 <= chain.length[0]!) return this.memory.getUint32(chain.gpa[0]! + offset);
    let value = 0;
    for (let byte = 3; byte >= 0; byte--) {
      value = value * 256 + this.memory.getUint8(byteAddress(chain, "readable", offset + byte));
    }
    return value;
  }
}
