import { afterAll, describe, expect, it } from "vitest";
import { GuestMemory } from "../../kvm/guest-memory.ts";
import { Rig } from "../testing/driver.ts";
import { R } from "./mmio.ts";
import { rngModel, VirtioRng } from "./rng.ts";

const memory = GuestMemory.create(2 ** 20);
afterAll(() => memory.release());

describe("VirtioRng", () => {
  const bench = (): { rig: Rig<VirtioRng>; queue: ReturnType<Rig["bringUp"]>[number] } => {
    const rig = new Rig(rngModel(), memory, (state) => new VirtioRng(state, memory));
    return { rig, queue: rig.bringUp()[0]! };
  };

  it("is device 4 and has no configuration", () => {
    const { rig } = bench();
    expect(rig.get(R.DeviceID)).toBe(4);
    expect(rig.transport.read(R.Config, 4)).toBe(0);
  });

  it("fills its buffers, all of them and nothing else", () => {
    const { rig, queue } = bench();
    const at = rig.allocate(1000);
    rig.bytes.fill(0, at, at + 1000);
    queue.submit([
      { gpa: at + 100, length: 300, writable: true },
      { gpa: at + 500, length: 0, writable: true },
      { gpa: at + 600, length: 100, writable: true },
    ]);
    rig.run();
    expect(queue.takeUsed()[0]!.length).toBe(400);
    const bytes = rig.bytes.slice(at, at + 1000);
    const distinct = (from: number, to: number): number => new Set(bytes.subarray(from, to)).size;
    // 300 random bytes with fewer than 50 values: less likely than anything.
    expect(distinct(100, 400)).toBeGreaterThan(50);
    expect(distinct(600, 700)).toBeGreaterThan(25);
    for (const [from, to] of [
      [0, 100],
      [400, 600],
      [700, 1000],
    ] as const) {
      expect(distinct(from, to)).toBe(1);
    }
  });

  it("gives different bytes each time", () => {
    const { rig, queue } = bench();
    const at = rig.allocate(32);
    const draw = (): string => {
      queue.submit([{ gpa: at, length: 32, writable: true }]);
      rig.run();
      return Buffer.from(rig.bytes.slice(at, at + 32)).toString("hex");
    };
    expect(draw()).not.toBe(draw());
  });

  it("gives a chain at most 64 KiB, and nothing for buffers it must not write", () => {
    const { rig, queue } = bench();
    const at = rig.allocate(16);
    rig.bytes.fill(7, at, at + 16);
    queue.submit([{ gpa: at, length: 16 }]);
    queue.submit([
      { gpa: 0x8_0000, length: 40_000, writable: true },
      { gpa: 0x8_0000, length: 40_000, writable: true },
    ]);
    rig.run();
    expect(queue.takeUsed().map(({ length }) => length)).toEqual([0, 65536]);
    expect(rig.bytes.subarray(at, at + 16).every((byte) => byte === 7)).toBe(true);
  });
});
