import { TsvmError } from "../errors.ts";
import type { GuestRam, RamRegion } from "../boot/guest-ram.ts";
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MADV_HUGEPAGE,
  MAP_NORESERVE,
  MAP_SHARED,
  MFD_CLOEXEC,
  MFD_HUGE_2MB,
  MFD_HUGETLB,
  PROT_READ,
  PROT_WRITE,
} from "../ffi/constants.ts";
import * as libc from "../ffi/libc.ts";
import { SystemCallError } from "../ffi/errno.ts";
import { GuestMemoryError } from "./errors.ts";
import { MiB, ramRegions } from "./memory-map.ts";

/** Where guest memory is in this process; plain data, so that it can travel to a worker. */
export interface GuestMemoryPlan {
  /** The memfd, open as long as the machine lives. */
  readonly fd: number;
  /** Host address of byte 0 of the mapping; the regions follow each other there without the hole. */
  readonly hostAddress: number;
  /** Bytes of RAM. */
  readonly size: number;
}

export interface GuestMemoryOptions {
  /** `transparent` asks for huge pages and takes what there is; `hugetlb` reserves 2 MiB pages or fails. */
  hugePages?: "none" | "transparent" | "hugetlb";
}

interface Region extends RamRegion {
  /** Guest physical address of the first byte after the region. */
  readonly end: number;
  /** Host address that corresponds to `gpa`. */
  readonly host: number;
  /**
   * One view per window of WINDOW_SIZE bytes, made when it is first looked through; each reaches 8 bytes into the next, so that no
   * scalar straddles. V8 counts a view as memory of the program and collects garbage for it: whoever needs none makes none.
   */
  readonly windows: (DataView | undefined)[];
}

/** Node 20 cannot make an ArrayBuffer over more than 4 GiB of foreign memory, so big guests are seen through windows. */
const WINDOW_SIZE = 2 ** 30;

/**
 * The RAM of one guest: one memfd, mapped once, seen by KVM as one slot per region.
 *
 * Nothing read from it may be trusted, and all of it may change while it is looked at: read a value once, check it,
 * use the checked copy. Every address given here is checked against the memory map.
 */
export class GuestMemory implements GuestRam {
  readonly plan: GuestMemoryPlan;
  readonly regions: readonly Region[];
  readonly size: number;

  /** Sees the memory of `plan`, which this or another thread has made. */
  constructor(plan: GuestMemoryPlan) {
    this.plan = plan;
    this.size = plan.size;
    let offset = 0;
    this.regions = ramRegions(plan.size).map(({ gpa, size }) => {
      const host = plan.hostAddress + offset;
      offset += size;
      return { gpa, size, end: gpa + size, host, windows: [] };
    });
  }

  /** Makes `size` bytes of zeroed guest memory. Host pages are taken only as the guest touches them. */
  static create(size: number, options: GuestMemoryOptions = {}): GuestMemory {
    const hugePages = options.hugePages ?? "none";
    const hugetlb = hugePages === "hugetlb";
    if (hugetlb && size % (2 * MiB) !== 0) {
      throw new GuestMemoryError(`${size} bytes of memory are not a multiple of the 2 MiB huge page`);
    }
    const fd = libc.check(
      libc.memfd_create("tsvm-ram", MFD_CLOEXEC | (hugetlb ? MFD_HUGETLB | MFD_HUGE_2MB : 0)),
      "memfd_create",
    );
    try {
      libc.check(libc.ftruncate(fd, size), "ftruncate", "guest memory");
      const hostAddress = mapMemory(fd, size, hugetlb);
      // A fork would otherwise copy the page tables of the whole guest for each child process.
      libc.madvise(hostAddress, size, MADV_DONTFORK);
      libc.madvise(hostAddress, size, MADV_DONTDUMP);
      if (hugePages === "transparent") libc.madvise(hostAddress, size, MADV_HUGEPAGE);
      return new GuestMemory({ fd, hostAddress, size });
    } catch (error) {
      libc.close(fd);
      if (error instanceof TsvmError && !(error instanceof SystemCallError)) throw error;
      throw new GuestMemoryError(
        `cannot make ${size / MiB} MiB of guest memory`,
        hugetlb
          ? "reserve huge pages first: sysctl vm.nr_hugepages=N (2 MiB each)"
          : "ask for less memory (--memory), or look at ulimit -v and the free memory of the host",
        error,
      );
    }
  }

  /** Unmaps the memory. Views of it must not be touched afterwards, by any thread. */
  release(): void {
    libc.munmap(this.plan.hostAddress, this.plan.size);
    libc.close(this.plan.fd);
  }

  contains(gpa: number, length: number): boolean {
    return this.hostAddress(gpa, length) !== -1;
  }

  /** Host address of [gpa, gpa + length), or -1 unless all of it is RAM of one region. Allocates nothing. */
  hostAddress(gpa: number, length: number): number {
    for (let index = 0; index < this.regions.length; index++) {
      const region = this.regions[index]!;
      if (gpa >= region.gpa && gpa < region.end) {
        return length >= 0 && length <= region.end - gpa ? region.host + (gpa - region.gpa) : -1;
      }
    }
    return -1;
  }

  /** The little-endian 16-bit value at `gpa`, which must be RAM: check with {@link contains} before. */
  getUint16(gpa: number): number {
    const region = this.#region(gpa, 2);
    const offset = gpa - region.gpa;
    return windowOf(region, offset).getUint16(offset % WINDOW_SIZE, true);
  }

  /** The little-endian 32-bit value at `gpa`. */
  getUint32(gpa: number): number {
    const region = this.#region(gpa, 4);
    const offset = gpa - region.gpa;
    return windowOf(region, offset).getUint32(offset % WINDOW_SIZE, true);
  }

  getUint8(gpa: number): number {
    const region = this.#region(gpa, 1);
    const offset = gpa - region.gpa;
    return windowOf(region, offset).getUint8(offset % WINDOW_SIZE);
  }

  setUint8(gpa: number, value: number): void {
    const region = this.#region(gpa, 1);
    const offset = gpa - region.gpa;
    windowOf(region, offset).setUint8(offset % WINDOW_SIZE, value);
  }

  /** Atomic compare and exchange of the 8-byte aligned value at `gpa`. Returns the old value. */
  compareExchange64(gpa: number, expected: bigint, replacement: bigint): bigint {
    const region = this.#region(gpa, 8);
    const offset = gpa - region.gpa;
    const window = windowOf(region, offset);
    const cell = new BigUint64Array(window.buffer, offset % WINDOW_SIZE, 1);
    return Atomics.compareExchange(cell, 0, expected, replacement);
  }

  /**
   * Gives the host back what of the pages [gpa, gpa + length) is RAM; both are multiples of the page. It reads as zeros from then on.
   * Returns the bytes of that, or -1 where the host does not take them.
   */
  discard(gpa: number, length: number): number {
    const { fd, hostAddress } = this.plan;
    let discarded = 0;
    for (let index = 0; index < this.regions.length; index++) {
      const region = this.regions[index]!;
      const start = Math.max(gpa, region.gpa);
      const bytes = Math.min(gpa + length, region.end) - start;
      if (bytes <= 0) continue;
      const offset = region.host - hostAddress + (start - region.gpa);
      // By the file, and not by an address: whatever is wrong, it cannot be other memory of this process.
      if (libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes) !== 0) return -1;
      discarded += bytes;
    }
    return discarded;
  }

  write(gpa: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.viewOf(gpa, bytes.length).set(bytes);
  }

  read(gpa: number, length: number): Uint8Array {
    return length === 0 ? new Uint8Array(0) : this.viewOf(gpa, length).slice();
  }

  readFile(gpa: number, fd: number, offset: number, length: number): void {
    const host = this.#checked(gpa, length);
    let done = 0;
    while (done < length) {
      const got = libc.check(libc.pread(fd, host + done, length - done, offset + done), "pread");
      if (got === 0) {
        throw new GuestMemoryError(`the file ends ${length - done} bytes early`);
      }
      done += got;
    }
  }

  /** A live view of [gpa, gpa + length), for set-up code and for queue rings: reads and writes go to the guest. */
  viewOf(gpa: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(libc.view(this.#checked(gpa, length), length));
  }

  #checked(gpa: number, length: number): number {
    const host = this.hostAddress(gpa, length);
    if (host === -1) {
      throw new GuestMemoryError(`guest address 0x${gpa.toString(16)} + ${length} bytes is not RAM`);
    }
    return host;
  }

  #region(gpa: number, length: number): Region {
    for (let index = 0; index < this.regions.length; index++) {
      const region = this.regions[index]!;
      if (gpa >= region.gpa && gpa < region.end && length <= region.end - gpa) return region;
    }
    throw new GuestMemoryError(`guest address 0x${gpa.toString(16)} is not RAM`);
  }
}

function mapMemory(fd: number, size: number, hugetlb: boolean): number {
  // NORESERVE: the guest's memory is a promise, not a reservation; huge pages on the other hand must be there.
  const flags = MAP_SHARED | (hugetlb ? 0 : MAP_NORESERVE);
  return libc.mmap(size, PROT_READ | PROT_WRITE, flags, fd);
}

function windowOf(region: Region, offset: number): DataView {
  const index = (offset / WINDOW_SIZE) | 0;
  return region.windows[index] ?? openWindow(region, index);
}

function openWindow(region: Region, index: number): DataView {
  const start = index * WINDOW_SIZE;
  const length = Math.min(WINDOW_SIZE + 8, region.size - start);
  const window = new DataView(libc.view(region.host + start, length));
  region.windows[index] = window;
  return window;
}
