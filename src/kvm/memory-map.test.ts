import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  GiB,
  HOLE_END,
  HOLE_START,
  KVM_IDENTITY_MAP_ADDR,
  KVM_TSS_ADDR,
  MiB,
  ramRegions,
  VIRTIO_MMIO_BASE,
  VIRTIO_MMIO_SIZE,
} from "./memory-map.ts";

describe("ramRegions", () => {
  it("is one region up to the hole, two beyond", () => {
    expect(ramRegions(64 * MiB)).toEqual([{ gpa: 0, size: 64 * MiB }]);
    expect(ramRegions(HOLE_START)).toEqual([{ gpa: 0, size: HOLE_START }]);
    expect(ramRegions(HOLE_START + 4096)).toEqual([
      { gpa: 0, size: HOLE_START },
      { gpa: HOLE_END, size: 4096 },
    ]);
  });

  it("adds up, in order, and leaves the hole free (property)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 * 1024 }), (mebibytes) => {
        const size = mebibytes * MiB;
        const regions = ramRegions(size);
        expect(regions.reduce((sum, region) => sum + region.size, 0)).toBe(size);
        for (const { gpa, size: length } of regions) {
          expect(length).toBeGreaterThan(0);
          expect(gpa >= HOLE_END || gpa + length <= HOLE_START).toBe(true);
        }
      }),
    );
  });

  it("has the devices and KVM's own pages in the hole", () => {
    for (const address of [
      VIRTIO_MMIO_BASE,
      VIRTIO_MMIO_BASE + 64 * VIRTIO_MMIO_SIZE,
      KVM_IDENTITY_MAP_ADDR,
      KVM_TSS_ADDR,
    ]) {
      expect(address).toBeGreaterThanOrEqual(HOLE_START);
      expect(address).toBeLessThan(HOLE_END);
    }
    expect(HOLE_END).toBe(4 * GiB);
    // KVM_SET_IDENTITY_MAP_ADDR takes one page, KVM_SET_TSS_ADDR three: they do not overlap.
    expect(KVM_TSS_ADDR - KVM_IDENTITY_MAP_ADDR).toBe(4096);
  });
});
