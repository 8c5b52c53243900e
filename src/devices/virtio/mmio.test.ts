import fc from "fast-check";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { GuestMemory } from "../../kvm/guest-memory.ts";
import { probeModel, ProbeBackend, Rig } from "../testing/driver.ts";
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, FAILED, FEATURES_OK } from "./constants.ts";
import { R } from "./mmio.ts";
import { Q, W } from "./state.ts";

const READY_TO_START = ACKNOWLEDGE | DRIVER | FEATURES_OK;
const VERSION_1 = 1n << 32n;
const QUEUE_REGISTERS = [
  R.QueueNum,
  R.QueueDescLow,
  R.QueueDescHigh,
  R.QueueDriverLow,
  R.QueueDriverHigh,
  R.QueueDeviceLow,
  R.QueueDeviceHigh,
];

const memory = GuestMemory.create(2 ** 20);
afterAll(() => memory.release());

const CONFIG = Uint8Array.from({ length: 13 }, (_, index) => index + 1);
const QUEUES = 3;
const newRig = (): Rig<ProbeBackend> =>
  new Rig(probeModel(64, CONFIG, QUEUES), memory, (state) => new ProbeBackend(state, memory));

describe("VirtioMmio", () => {
  let rig: Rig<ProbeBackend>;
  beforeEach(() => {
    rig = newRig();
  });
  const frozen = (queue: number): number[] => {
    const base = rig.state.queueBase(queue);
    return [...rig.state.words.subarray(base + Q.NUM, base + Q.DEVICE_HIGH + 1)];
  };

  it("says what it is", () => {
    expect(rig.get(R.MagicValue)).toBe(0x7472_6976);
    expect(rig.get(R.Version)).toBe(2);
    expect(rig.get(R.DeviceID)).toBe(63);
    expect(Buffer.from(Uint32Array.of(rig.get(R.VendorID)).buffer).toString()).toBe("tsvm");
    expect(rig.get(R.Status)).toBe(0);
    expect(rig.get(R.InterruptStatus)).toBe(0);
  });

  it("offers its features in pages of 32, with those of the transport", () => {
    // 0 and 5 of the model, INDIRECT_DESC, EVENT_IDX, VERSION_1.
    expect(rig.offered).toBe((1n << 0n) | (1n << 5n) | (1n << 28n) | (1n << 29n) | VERSION_1);
    for (const page of [2, 3, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      rig.set(R.DeviceFeaturesSel, page);
      expect(rig.get(R.DeviceFeatures)).toBe(0);
    }
  });

  it("has no shared memory regions", () => {
    for (const offset of [0xb0, 0xb4, 0xb8, 0xbc]) expect(rig.get(offset)).toBe(0xffff_ffff);
  });

  it("gives zero for write-only and unknown registers, and for accesses that are not 32 bits wide", () => {
    rig.bringUp();
    for (const offset of [
      R.DriverFeatures,
      R.QueueNum,
      R.QueueNotify,
      R.InterruptACK,
      R.QueueDescLow,
      0x00e,
      0x0f0,
    ]) {
      expect(rig.get(offset)).toBe(0);
    }
    expect(rig.transport.read(R.MagicValue, 1)).toBe(0);
    expect(rig.transport.read(R.MagicValue, 2)).toBe(0);
    rig.transport.write(R.Status, 1, 0);
    rig.transport.write(R.Status, 2, 0);
    expect(rig.get(R.Status)).toBe(READY_TO_START | DRIVER_OK);
  });

  describe("features", () => {
    it("are accepted as a subset with VERSION_1", () => {
      rig.negotiate(VERSION_1 | (1n << 5n));
      expect(rig.get(R.Status)).toBe(READY_TO_START);
      expect(rig.state.negotiated(5)).toBe(true);
      expect(rig.state.negotiated(0)).toBe(false);
      expect(rig.state.negotiated(32)).toBe(true);
      expect(rig.state.negotiated(29)).toBe(false);
    });

    it.each([
      ["without VERSION_1", 1n << 5n],
      ["with a low bit that was not offered", VERSION_1 | (1n << 6n)],
      ["with bit 31", VERSION_1 | (1n << 31n)],
      ["with a high bit that was not offered", VERSION_1 | (1n << 33n)],
      ["with bit 63", VERSION_1 | (1n << 63n)],
    ])("are refused %s, and DRIVER_OK with them", (_, features) => {
      rig.negotiate(features);
      expect(rig.get(R.Status)).toBe(ACKNOWLEDGE | DRIVER);
      rig.start();
      expect(rig.get(R.Status)).toBe(ACKNOWLEDGE | DRIVER);
      expect(rig.state.live).toBe(false);
    });

    it("can be tried again after a refusal, but not after acceptance", () => {
      rig.negotiate(1n << 6n);
      rig.negotiate(VERSION_1);
      expect(rig.get(R.Status)).toBe(READY_TO_START);
      rig.set(R.DriverFeaturesSel, 0);
      rig.set(R.DriverFeatures, 1);
      expect(rig.state.negotiated(0)).toBe(false);
    });

    it("of pages there are not go nowhere", () => {
      for (const page of [2, 0x8000_0000, 0xffff_ffff]) {
        rig.set(R.DriverFeaturesSel, page);
        rig.set(R.DriverFeatures, 0xffff_ffff);
      }
      rig.set(R.DriverFeaturesSel, 1);
      rig.set(R.DriverFeatures, 1);
      rig.set(R.Status, READY_TO_START);
      expect(rig.get(R.Status)).toBe(READY_TO_START);
      expect(rig.state.words[W.DRIVER_FEATURES_LOW]).toBe(0);
    });
  });

  describe("status", () => {
    it("only ever gains bits", () => {
      rig.negotiate();
      rig.set(R.Status, ACKNOWLEDGE);
      expect(rig.get(R.Status)).toBe(READY_TO_START);
      rig.set(R.Status, FAILED);
      expect(rig.get(R.Status)).toBe(READY_TO_START | FAILED);
    });

    it("is the device's as far as NEEDS_RESET goes", () => {
      rig.set(R.Status, DEVICE_NEEDS_RESET | ACKNOWLEDGE);
      expect(rig.get(R.Status)).toBe(ACKNOWLEDGE);
      rig.bringUp();
      rig.state.setNeedsReset();
      rig.set(R.Status, 0xff & ~DEVICE_NEEDS_RESET);
      expect(rig.needsReset).toBe(true);
      expect(rig.state.live).toBe(false);
    });

    it("wakes the I/O thread, and makes it look again only where something has changed", () => {
      rig.negotiate();
      const { epoch } = rig.state;
      const { wakes } = rig;
      rig.start();
      expect(rig.state.epoch).not.toBe(epoch);
      expect(rig.wakes).toBe(wakes + 1);
      const started = rig.state.epoch;
      rig.start();
      expect(rig.state.epoch).toBe(started);
    });

    it("ignores what lies beyond its eight bits", () => {
      rig.set(R.Status, 0xffff_ff00);
      expect(rig.get(R.Status)).toBe(0);
    });
  });

  describe("reset", () => {
    it("undoes everything that the driver has set", () => {
      rig.bringUp();
      rig.state.notifyUsed();
      rig.state.notifyConfig();
      rig.state.setNeedsReset();
      const { epoch } = rig.state;
      const generation = rig.get(R.ConfigGeneration);
      rig.set(R.Status, 0);
      expect(rig.get(R.Status)).toBe(0);
      expect(rig.get(R.InterruptStatus)).toBe(0);
      expect(rig.state.epoch).not.toBe(epoch);
      expect(rig.get(R.ConfigGeneration)).toBe(generation);
      for (let queue = 0; queue < QUEUES; queue++) {
        rig.set(R.QueueSel, queue);
        expect(rig.get(R.QueueReady)).toBe(0);
        expect(frozen(queue)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
      }
      expect(rig.state.negotiated(32)).toBe(false);
      expect(rig.transport.read(R.Config, 1)).toBe(1);
      rig.bringUp();
      expect(rig.get(R.Status)).toBe(READY_TO_START | DRIVER_OK);
    });
  });

  describe("queues", () => {
    it("tell their size, and zero where there is none", () => {
      for (const [queue, size] of [
        [0, 64],
        [2, 64],
        [3, 0],
        [0x8000_0000, 0],
        [0xffff_ffff, 0],
      ] as const) {
        rig.set(R.QueueSel, queue);
        expect(rig.get(R.QueueNumMax)).toBe(size);
        rig.set(R.QueueReady, 1);
        expect(rig.get(R.QueueReady)).toBe(0);
      }
    });

    it.each([0, 3, 63, 65, 128, 0x8000_0000, 0xffff_ffff, 0x1_0000])(
      "do not become ready with a size of %s",
      (size) => {
        rig.negotiate();
        rig.setQueue(0, size, [0x1000, 0x2000, 0x3000]);
        expect(rig.get(R.QueueReady)).toBe(0);
      },
    );

    it.each([1, 2, 32, 64])("become ready with a size of %s", (size) => {
      rig.negotiate();
      rig.setQueue(0, size, [0x1000, 0x2000, 0x3000]);
      expect(rig.get(R.QueueReady)).toBe(1);
    });

    it("have registers of their own", () => {
      rig.negotiate();
      for (let queue = 0; queue < QUEUES; queue++)
        rig.setQueue(queue, 2 ** queue, [queue, queue + 10, 2 ** 32 * queue], 0);
      expect(frozen(0)).toEqual([1, 0, 0, 0, 10, 0, 0, 0]);
      expect(frozen(1)).toEqual([2, 0, 1, 0, 11, 0, 0, 1]);
      expect(frozen(2)).toEqual([4, 0, 2, 0, 12, 0, 0, 2]);
    });

    it("are frozen while ready", () => {
      rig.negotiate();
      rig.setQueue(1, 32, [0x1000, 0x2000, 0x3000]);
      const before = frozen(1);
      for (const register of QUEUE_REGISTERS) rig.set(register, 0x4000);
      expect(frozen(1)).toEqual(before);
      rig.set(R.QueueReady, 0);
      rig.set(R.QueueDescLow, 0x4000);
      expect(frozen(1)).not.toEqual(before);
    });

    it("are frozen after DRIVER_OK, ready or not, and cannot come up any more", () => {
      rig.negotiate();
      rig.setQueue(0, 32, [0x1000, 0x2000, 0x3000]);
      rig.setQueue(1, 32, [0x1000, 0x2000, 0x3000], 0);
      rig.start();
      for (const queue of [0, 1]) {
        rig.set(R.QueueSel, queue);
        rig.set(R.QueueReady, 0);
        const before = frozen(queue);
        for (const register of QUEUE_REGISTERS) rig.set(register, 0x4000);
        rig.set(R.QueueReady, 1);
        expect(frozen(queue)).toEqual(before);
        expect(rig.get(R.QueueReady)).toBe(0);
      }
    });
  });

  describe("interrupts", () => {
    it("are acknowledged bit by bit", () => {
      rig.state.notifyUsed();
      expect(rig.get(R.InterruptStatus)).toBe(1);
      rig.state.notifyConfig();
      expect(rig.get(R.InterruptStatus)).toBe(3);
      rig.set(R.InterruptACK, 2);
      expect(rig.get(R.InterruptStatus)).toBe(1);
      rig.set(R.InterruptACK, 0xffff_fffe);
      expect(rig.get(R.InterruptStatus)).toBe(1);
      rig.set(R.InterruptACK, 0xffff_ffff);
      expect(rig.get(R.InterruptStatus)).toBe(0);
      expect(rig.interrupts).toBe(2);
    });

    it("say that a reset is needed, once, and only to a driver that is there", () => {
      rig.state.setNeedsReset();
      expect(rig.interrupts).toBe(0);
      rig.set(R.Status, 0);
      rig.bringUp();
      const generation = rig.get(R.ConfigGeneration);
      rig.state.setNeedsReset();
      rig.state.setNeedsReset();
      expect(rig.interrupts).toBe(1);
      expect(rig.get(R.InterruptStatus)).toBe(2);
      expect(rig.get(R.ConfigGeneration)).toBe(generation + 1);
    });
  });

  it("shows the configuration at every offset and size, zero beyond its end, and never writes it (property)", () => {
    fc.assert(
      fc.property(fc.oneof(fc.nat(20), fc.nat(0xeff)), fc.constantFrom(1, 2, 4), (offset, size) => {
        let expected = 0;
        for (let byte = size - 1; byte >= 0; byte--) expected = expected * 256 + (CONFIG[offset + byte] ?? 0);
        expect(rig.transport.read(R.Config + offset, size)).toBe(expected);
        rig.transport.write(R.Config + offset, size, 0xffff_ffff);
        expect(rig.transport.read(R.Config + offset, size)).toBe(expected);
      }),
    );
  });

  const offset = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...Object.values(R)) },
    { weight: 2, arbitrary: fc.nat(0x3f).map((word) => word * 4) },
    { weight: 1, arbitrary: fc.nat(0xfff) },
  );
  const value = fc.oneof(
    fc.constantFrom(0, 1, 2, 3, 4, 7, 8, 11, 15, 64, 0x30, 0x3000_0021, 0xffff_ffff, 0x8000_0000),
    fc.nat(0xffff_ffff),
  );
  const access = fc.record({
    write: fc.boolean(),
    offset,
    size: fc.constantFrom(4, 4, 4, 4, 1, 2),
    value,
  });
  /** What brings a device up, in pieces: random accesses alone hardly ever get that far. */
  const write = (
    at: number,
    written: number,
  ): { write: boolean; offset: number; size: number; value: number } => ({
    write: true,
    offset: at,
    size: 4,
    value: written,
  });
  const scripted = fc.constantFrom(
    [write(R.DriverFeaturesSel, 1), write(R.DriverFeatures, 1)],
    [write(R.Status, READY_TO_START)],
    [write(R.QueueNum, 16), write(R.QueueReady, 1)],
    [write(R.Status, READY_TO_START | DRIVER_OK)],
    [write(R.QueueSel, 1), write(R.QueueReady, 0)],
  );
  const session = fc
    .array(
      fc.oneof({ weight: 4, arbitrary: access.map((one) => [one]) }, { weight: 1, arbitrary: scripted }),
      { maxLength: 150 },
    )
    .map((pieces) => pieces.flat());

  it("keeps its rules under any sequence of accesses (property)", () => {
    let live = 0;
    fc.assert(
      fc.property(fc.constantFrom("fresh", "negotiated", "live"), session, (start, accesses) => {
        rig = newRig();
        if (start === "negotiated") rig.negotiate();
        if (start === "live") rig.bringUp();
        const { words } = rig.state;
        for (const { write: writes, offset: at, size, value: written } of accesses) {
          const status = rig.get(R.Status);
          const before = words.slice();
          if (!writes) {
            const got = rig.transport.read(at, size);
            expect(Number.isInteger(got) && got >= 0 && got < 256 ** size).toBe(true);
            expect(words).toEqual(before);
            continue;
          }
          rig.transport.write(at, size, written);
          const after = rig.get(R.Status);
          // The lock is free again.
          expect(words[W.LOCK]).toBe(0);
          if (size !== 4 || at >= R.Config) {
            expect(words).toEqual(before);
            continue;
          }
          if (at === R.Status && written === 0) {
            expect(after).toBe(0);
            continue;
          }
          expect(after & status).toBe(status);
          if (at !== R.Status) expect(after).toBe(status);
          expect(after & DEVICE_NEEDS_RESET).toBe(0);
          const low = words[W.DRIVER_FEATURES_LOW]! >>> 0;
          const high = words[W.DRIVER_FEATURES_HIGH]! >>> 0;
          if ((after & FEATURES_OK) !== 0) {
            expect(high).toBe(1);
            expect((low & ~0x3000_0021) >>> 0).toBe(0);
          }
          if ((after & DRIVER_OK) !== 0) {
            live++;
            expect(after & FEATURES_OK).toBe(FEATURES_OK);
          }
          if ((status & FEATURES_OK) !== 0) {
            expect(low).toBe(before[W.DRIVER_FEATURES_LOW]! >>> 0);
            expect(high).toBe(before[W.DRIVER_FEATURES_HIGH]! >>> 0);
          }
          for (let queue = 0; queue < QUEUES; queue++) {
            const base = rig.state.queueBase(queue);
            const was = before.subarray(base, base + Q.WORDS);
            const is = words.subarray(base, base + Q.WORDS);
            const wasReady = was[Q.READY] === 1;
            if (is[Q.READY] === 1) {
              expect([1, 2, 4, 8, 16, 32, 64]).toContain(is[Q.NUM]);
              expect(wasReady || (status & DRIVER_OK) === 0).toBe(true);
            }
            if (wasReady || (status & DRIVER_OK) !== 0) {
              for (const register of [
                Q.NUM,
                Q.DESC_LOW,
                Q.DESC_HIGH,
                Q.DRIVER_LOW,
                Q.DRIVER_HIGH,
                Q.DEVICE_LOW,
                Q.DEVICE_HIGH,
              ]) {
                expect(is[register]).toBe(was[register]);
              }
            }
            // A change that the I/O thread has to know of.
            if (is[Q.READY] !== was[Q.READY]) expect(words[W.EPOCH]).not.toBe(before[W.EPOCH]);
          }
          if (after !== status) expect(words[W.EPOCH]).not.toBe(before[W.EPOCH]);
        }
        expect(rig.state.config).toEqual(CONFIG);
      }),
      { numRuns: 200 },
    );
    // Sequences that never get the device going would prove little.
    expect(live).toBeGreaterThan(50);
  });
});
