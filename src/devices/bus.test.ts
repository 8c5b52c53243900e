import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Bus, type BusDevice } from "./bus.ts";

/** Remembers what reached it. */
class Recorder implements BusDevice {
  readonly calls: unknown[] = [];
  readonly #answer: number;
  constructor(answer = 0) {
    this.#answer = answer;
  }
  read(offset: number, size: number): number {
    this.calls.push(["read", offset, size]);
    return this.#answer;
  }
  write(offset: number, size: number, value: number): void {
    this.calls.push(["write", offset, size, value]);
  }
}

describe("Bus", () => {
  it("hands accesses on with offsets from the device's base", () => {
    const bus = new Bus();
    const device = new Recorder(7);
    bus.insert(device, 0x3f8, 8);
    expect(bus.read(0x3f8, 1)).toBe(7);
    bus.write(0x3ff, 2, 0xabcd);
    expect(device.calls).toEqual([
      ["read", 0, 1],
      ["write", 7, 2, 0xabcd],
    ]);
  });

  it("gives all ones where nothing is, by size, and swallows writes", () => {
    const bus = new Bus();
    const device = new Recorder();
    bus.insert(device, 0x100, 0x10);
    for (const address of [0, 0xff, 0x110, 0xffff_ffff]) {
      expect([1, 2, 4].map((size) => bus.read(address, size))).toEqual([0xff, 0xffff, 0xffff_ffff]);
      bus.write(address, 4, 1);
    }
    expect(device.calls).toEqual([]);
  });

  it("takes neighbours", () => {
    const bus = new Bus();
    bus.insert(new Recorder(1), 0x100, 0x10);
    bus.insert(new Recorder(2), 0x110, 0x10);
    bus.insert(new Recorder(3), 0xf0, 0x10);
    expect([0xff, 0x100, 0x10f, 0x110].map((address) => bus.read(address, 1))).toEqual([3, 1, 1, 2]);
  });

  it("refuses exactly the ranges that overlap (property)", () => {
    const range = fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 20 }));
    fc.assert(
      fc.property(range, range, ([a, aLength], [b, bLength]) => {
        const bus = new Bus();
        bus.insert(new Recorder(), a, aLength);
        const insert = (): void => bus.insert(new Recorder(), b, bLength);
        const shared = Array.from({ length: bLength }, (_, index) => b + index).some(
          (address) => address >= a && address < a + aLength,
        );
        if (shared) expect(insert).toThrow(expect.objectContaining({ code: "ERR_BUS_OVERLAP" }));
        else expect(insert).not.toThrow();
      }),
    );
  });
});
