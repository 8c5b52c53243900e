/**
 * Block device, virtio 1.2 section 5.2. A request is a stream of bytes in its chain, whatever the buffer boundaries: 16 bytes
 * of header and the data to write in the readable part, the data read and one status byte in the writable part.
 */
import { DiskQueue } from "../../disk/async/disk-queue.ts";
import {
  type DiskRange,
  DiskRequest,
  DISCARD,
  FLUSH,
  READ,
  WRITE,
  WRITE_ZEROES,
} from "../../disk/async/disk-request.ts";
import type { IoEngine } from "../../disk/async/io-engine.ts";
import type { BlockBackend } from "../../disk/backend.ts";
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import type { RateLimiter } from "../rate-limiter.ts";
import { BLOCKED, byteAddress, gather, PENDING, VirtioBackend } from "./backend.ts";
import { BlkCounters, Counter } from "./blk-counters.ts";
import { VIRTIO_ID_BLOCK } from "./constants.ts";
import { VirtqueueError, type DescriptorChain, type Virtqueue } from "./queue.ts";
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

const QUEUE = 0;
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

/** What surrounds the device; each may be left out. */
export interface BlkSurroundings {
  /** Without one, every request is done while it is looked at. */
  readonly engine?: IoEngine | undefined;
  readonly limiter?: RateLimiter | undefined;
  readonly counters?: BlkCounters | undefined;
  /** ms of a monotonic clock. */
  readonly now?: () => number;
  /** Has queue 0 run after so many ms; 0: soon. */
  readonly runLater?: (delay: number) => void;
}

/** A request on its way, with what its answer needs. */
class BlkRequest extends DiskRequest {
  head = 0;
  epoch = 0;
  /** Guest address of the status byte. */
  statusAt = 0;
  /** For the used ring, if it succeeds. */
  written = 1;
  /** When the device took it, ms. */
  takenAt = 0;
}

/** Instead of a status: the request goes to the disk. */
const TO_DISK = -1;

export class VirtioBlk extends VirtioBackend {
  readonly #readOnly: boolean;
  /** At most 20 ASCII bytes, as /sys/block/vda/serial shows it. */
  readonly #serial: Uint8Array;
  readonly #sectors: number;
  readonly #queue: DiskQueue<BlkRequest>;
  readonly #limiter: RateLimiter | undefined;
  readonly #counters: BlkCounters;
  readonly #now: () => number;
  readonly #runLater: (delay: number) => void;
  readonly #free: BlkRequest[] = [];
  #made = 0;
  /** When the last request was answered, for the next one of the same turn; else 0. */
  #answeredAt = 0;
  /** The queue waits for a request to end, because there are as many as may be. */
  #full = false;

  constructor(
    state: VirtioState,
    memory: GuestMemory,
    disk: BlockBackend,
    options: { readOnly: boolean; serial: string } & BlkSurroundings,
  ) {
    super(state, memory);
    const {
      engine,
      limiter,
      counters = new BlkCounters(),
      now = () => 0,
      runLater = () => undefined,
    } = options;
    this.#readOnly = options.readOnly;
    this.#serial = new TextEncoder().encode(options.serial).subarray(0, SERIAL_BYTES);
    this.#sectors = disk.size / SECTOR;
    this.#queue = new DiskQueue(disk, engine, (request) => this.#answerLater(request));
    this.#limiter = limiter;
    this.#counters = counters;
    this.#now = now;
    this.#runLater = runLater;
  }

  protected override serve(queue: Virtqueue, index: number): boolean {
    this.#answeredAt = 0;
    return super.serve(queue, index);
  }

  protected override handle(_index: number, chain: DescriptorChain): number {
    if (chain.writableBytes < 1) throw new VirtqueueError("block request without a status byte");
    const statusAt = byteAddress(chain, "writable", chain.writableBytes - 1);
    const request = this.#take();
    if (request === undefined) return BLOCKED;
    const status = this.#prepare(request, chain);
    if (status !== TO_DISK) {
      this.#free.push(request);
      if (status !== VIRTIO_BLK_S_OK) this.#counters.add(Counter.errors);
      this.memory.setUint8(statusAt, status);
      return status === VIRTIO_BLK_S_OK ? request.written : 1;
    }
    if (this.#mustWait(request)) {
      this.#free.push(request);
      return BLOCKED;
    }
    request.head = chain.head;
    request.epoch = this.epoch;
    request.statusAt = statusAt;
    // What has just been answered by this thread ended just now.
    request.takenAt = this.#answeredAt === 0 ? this.#now() : this.#answeredAt;
    this.#count(request);
    if (!this.#queue.start(request)) {
      this.#answeredAt = 0;
      return PENDING;
    }
    const written = this.#answer(request);
    this.#free.push(request);
    return written;
  }

  protected override reset(): void {
    // What is on its way belongs to an earlier epoch, and its answer is dropped.
  }

  #take(): BlkRequest | undefined {
    const request = this.#free.pop();
    if (request !== undefined) return request;
    if (this.#made === QUEUE_SIZE) {
      this.#full = true;
      return undefined;
    }
    this.#made += 1;
    return new BlkRequest(QUEUE_SIZE);
  }

  /** A request that the queue has finished by itself. */
  #answerLater(request: BlkRequest): void {
    if (this.beginAnswer(QUEUE, request.epoch)) {
      this.endAnswer(QUEUE, request.head, this.#answer(request));
    }
    this.#free.push(request);
    if (!this.#full) return;
    this.#full = false;
    this.#runLater(0);
  }

  /** Writes the status; returns the length for the used ring. */
  #answer({ kind, takenAt, errno, statusAt, written }: BlkRequest): number {
    this.#answeredAt = this.#now();
    this.#counters.took(kind, this.#answeredAt - takenAt);
    if (errno !== 0) this.#counters.add(Counter.errors);
    this.memory.setUint8(statusAt, errno === 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
    return errno === 0 ? written : 1;
  }

  /** Whether a limit holds the request back; the queue runs again when it may go on. */
  #mustWait({ kind, vector }: BlkRequest): boolean {
    if (this.#limiter === undefined) return false;
    const bytes = kind === READ || kind === WRITE ? vector.bytes : 0;
    const delay = this.#limiter.admit(kind !== READ, bytes, this.#now());
    if (delay === 0) return false;
    this.#counters.add(Counter.throttled);
    this.#runLater(delay);
    return true;
  }

  #count({ kind, vector }: BlkRequest): void {
    const counters = this.#counters;
    if (kind === READ) {
      counters.add(Counter.reads);
      counters.add(Counter.readBytes, vector.bytes);
    } else if (kind === WRITE) {
      counters.add(Counter.writes);
      counters.add(Counter.writtenBytes, vector.bytes);
    } else counters.add(kind === FLUSH ? Counter.flushes : Counter.discards);
  }

  /** Fills in what is to be done with the disk. Anything but TO_DISK is the status already. */
  #prepare(request: BlkRequest, chain: DescriptorChain): number {
    request.written = 1;
    if (chain.readableBytes < HEADER_BYTES) return VIRTIO_BLK_S_IOERR;
    const type = this.#readUint32(chain, 0);
    const sector = this.#readUint32(chain, 12) * 2 ** 32 + this.#readUint32(chain, 8);
    switch (type) {
      case VIRTIO_BLK_T_IN:
        request.kind = READ;
        request.written = chain.writableBytes;
        return this.#transfer(request, chain, "writable", 0, chain.writableBytes - 1, sector);
      case VIRTIO_BLK_T_OUT: {
        if (this.#readOnly) return VIRTIO_BLK_S_IOERR;
        request.kind = WRITE;
        const bytes = chain.readableBytes - HEADER_BYTES;
        return this.#transfer(request, chain, "readable", HEADER_BYTES, bytes, sector);
      }
      case VIRTIO_BLK_T_FLUSH:
        request.kind = FLUSH;
        return this.#readOnly ? VIRTIO_BLK_S_OK : TO_DISK;
      case VIRTIO_BLK_T_GET_ID:
        request.written = chain.writableBytes;
        return this.#getId(chain);
      case VIRTIO_BLK_T_DISCARD:
      case VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#ranges(request, type, chain);
      default:
        return VIRTIO_BLK_S_UNSUPP;
    }
  }

  #transfer(
    request: BlkRequest,
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
    gather(request.vector, chain, part, skip, bytes);
    request.offset = sector * SECTOR;
    return request.vector.bytes === bytes ? TO_DISK : VIRTIO_BLK_S_IOERR;
  }

  #getId(chain: DescriptorChain): number {
    if (chain.writableBytes - 1 < SERIAL_BYTES) return VIRTIO_BLK_S_IOERR;
    for (let index = 0; index < SERIAL_BYTES; index++) {
      this.memory.setUint8(byteAddress(chain, "writable", index), this.#serial[index] ?? 0);
    }
    return VIRTIO_BLK_S_OK;
  }

  /** Section 5.2.6.2: all ranges are checked before any of them is touched. */
  #ranges(request: BlkRequest, type: number, chain: DescriptorChain): number {
    if (this.#readOnly) return VIRTIO_BLK_S_IOERR;
    const discard = type === VIRTIO_BLK_T_DISCARD;
    const count = (chain.readableBytes - HEADER_BYTES) / RANGE_BYTES;
    const most = discard ? MAX_DISCARD_RANGES : MAX_WRITE_ZEROES_RANGES;
    if (!Number.isInteger(count) || count < 1 || count > most) return VIRTIO_BLK_S_IOERR;
    const ranges: DiskRange[] = [];
    request.kind = discard ? DISCARD : WRITE_ZEROES;
    for (let index = 0; index < count; index++) {
      const at = HEADER_BYTES + index * RANGE_BYTES;
      const sector = this.#readUint32(chain, at + 4) * 2 ** 32 + this.#readUint32(chain, at);
      const sectors = this.#readUint32(chain, at + 8);
      const flags = this.#readUint32(chain, at + 12);
      if ((flags & ~(discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)) !== 0) return VIRTIO_BLK_S_UNSUPP;
      if (sectors > MAX_RANGE_SECTORS || !this.#inRange(sector, sectors)) return VIRTIO_BLK_S_IOERR;
      request.unmap = flags !== 0;
      if (sectors > 0) ranges.push({ offset: sector * SECTOR, length: sectors * SECTOR });
    }
    request.ranges = ranges;
    return ranges.length > 0 ? TO_DISK : VIRTIO_BLK_S_OK;
  }

  #inRange(sector: number, sectors: number): boolean {
    return sector <= this.#sectors && sectors <= this.#sectors - sector;
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
