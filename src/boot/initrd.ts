/** Where the initial RAM disk goes. */
import { GuestTooSmallError } from "./errors.ts";
import type { RamRegion } from "./guest-ram.ts";
import { HIGH_MEMORY } from "./layout.ts";
import { HOLE_START } from "../kvm/memory-map.ts";
import { PAGE_SIZE, alignDown, alignUp, formatBytes, wholeMiB } from "./quantities.ts";

/** Highest address of an initrd's last byte for kernels whose file does not say. Linux says the same since 2.6. */
export const DEFAULT_INITRD_ADDR_MAX = 0x7fff_ffff;

/** [start, end) in guest physical addresses. */
export interface AddressRange {
  readonly start: number;
  readonly end: number;
}

export interface InitrdRequest {
  /** Bytes. */
  readonly size: number;
  /** How an error calls it. */
  readonly name: string;
  /** Highest address the last byte may have. */
  readonly addrMax: number;
  /** What the kernel needs for itself. */
  readonly kernel: AddressRange;
  /** Whether the kernel also takes an initrd above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G). */
  readonly above4G: boolean;
}

/**
 * The guest physical address for an initrd: page-aligned, as high as the kernel can take it, so that the kernel has its
 * surroundings to itself; above 4 GiB only if there is no room below.
 *
 * @throws {GuestTooSmallError} if there is no such place.
 */
export function placeInitrd(regions: readonly RamRegion[], request: InitrdRequest): number {
  const { size, addrMax, kernel, above4G } = request;
  const space = alignUp(size, PAGE_SIZE);
  const low = highestFit(freeRanges(regions, kernel, addrMax + 1), space);
  if (low !== undefined) return low;
  const high = above4G ? highestFit(freeRanges(regions, kernel, Infinity), space) : undefined;
  if (high !== undefined) return high;
  throw doesNotFit(regions, request);
}

/** RAM from 1 MiB to `limit` without the kernel's range, ascending. */
function freeRanges(regions: readonly RamRegion[], kernel: AddressRange, limit: number): AddressRange[] {
  const free: AddressRange[] = [];
  for (const { gpa, size } of regions) {
    const start = Math.max(gpa, HIGH_MEMORY);
    const end = Math.min(gpa + size, limit);
    free.push({ start, end: Math.min(end, kernel.start) }, { start: Math.max(start, kernel.end), end });
  }
  return free.filter(({ start, end }) => end > start);
}

function highestFit(ranges: readonly AddressRange[], space: number): number | undefined {
  for (const { start, end } of ranges.toReversed()) {
    const address = alignDown(end - space, PAGE_SIZE);
    if (address >= start) return address;
  }
  return undefined;
}

function doesNotFit(regions: readonly RamRegion[], request: InitrdRequest): GuestTooSmallError {
  const { size, name, addrMax, kernel } = request;
  const memory = regions.reduce((sum, region) => sum + region.size, 0);
  const needed = alignUp(kernel.end, PAGE_SIZE) + alignUp(size, PAGE_SIZE);
  const what = `${name}: initrd of ${formatBytes(size)} does not fit into ${formatBytes(memory)} of guest memory`;
  const kernelNeeds = `the kernel occupies everything from ${formatBytes(kernel.start)} to ${formatBytes(kernel.end)}`;
  if (needed > Math.min(addrMax + 1, HOLE_START)) {
    return new GuestTooSmallError(
      `${what}: ${kernelNeeds} and takes no initrd beyond ${formatBytes(addrMax + 1)}`,
      undefined,
      "use a smaller initrd, or put its content on a disk",
    );
  }
  return new GuestTooSmallError(
    `${what}: ${kernelNeeds}`,
    needed,
    `give the guest at least ${wholeMiB(needed)} MiB (--memory), and more for what the initrd unpacks to; or put its content on a disk`,
  );
}
