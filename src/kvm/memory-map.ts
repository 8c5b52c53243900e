/** Where RAM and devices lie in the guest's physical address space. All values in bytes. */
import type { RamRegion } from "../boot/guest-ram.ts";

export const MiB = 1 << 20;
export const GiB = 2 ** 30;

/** RAM stops here and goes on at 4 GiB: the hole keeps devices, I/O APIC, local APIC and KVM's own pages. */
export const HOLE_START = 0xc000_0000;
export const HOLE_END = 0x1_0000_0000;

/** virtio-mmio windows, one page each, from here upwards. */
export const VIRTIO_MMIO_BASE = 0xd000_0000;
export const VIRTIO_MMIO_SIZE = 0x1000;

/** Pages KVM needs for itself on Intel processors (KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_TSS_ADDR). */
export const KVM_IDENTITY_MAP_ADDR = 0xfffb_c000;
export const KVM_TSS_ADDR = 0xfffb_d000;

/** The RAM regions of a guest with `size` bytes of memory. */
export function ramRegions(size: number): RamRegion[] {
  if (size <= HOLE_START) return [{ gpa: 0, size }];
  return [
    { gpa: 0, size: HOLE_START },
    { gpa: HOLE_END, size: size - HOLE_START },
  ];
}
