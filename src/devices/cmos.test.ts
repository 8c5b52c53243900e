import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Cmos } from "./cmos.ts";

const words = (): Int32Array => new Int32Array(new SharedArrayBuffer(Cmos.STATE_BYTES));
const at =
  (iso: string): (() => Date) =>
  () =>
    new Date(iso);

const readRegister = (cmos: Cmos, index: number): number => {
  cmos.write(0, 1, index);
  return cmos.read(1, 1);
};
const writeRegister = (cmos: Cmos, index: number, value: number): void => {
  cmos.write(0, 1, index);
  cmos.write(1, 1, value);
};
/** Seconds, minutes, hours, day of week, day, month, year, century. */
const CLOCK = [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32];

describe("Cmos", () => {
  it("tells the time in UTC, in BCD and 24 hours", () => {
    const cmos = new Cmos(words(), at("2039-12-31T23:59:58Z"));
    expect(CLOCK.map((index) => readRegister(cmos, index))).toEqual([
      0x58, 0x59, 0x23, 0x07, 0x31, 0x12, 0x39, 0x20,
    ]);
    expect(readRegister(cmos, 0x0b)).toBe(0x02);
  });

  it("tells it in binary when asked to", () => {
    const cmos = new Cmos(words(), at("1999-01-03T07:08:09Z"));
    writeRegister(cmos, 0x0b, 0x04);
    expect(readRegister(cmos, 0x0b)).toBe(0x06);
    expect(CLOCK.map((index) => readRegister(cmos, index))).toEqual([9, 8, 7, 1, 3, 1, 99, 19]);
    writeRegister(cmos, 0x0b, 0x02);
    expect(readRegister(cmos, 0x02)).toBe(0x08);
  });

  it("goes on with the clock, and cannot be set", () => {
    let now = new Date("2026-01-01T00:00:00Z");
    const cmos = new Cmos(words(), () => now);
    writeRegister(cmos, 0x00, 0x33);
    expect(readRegister(cmos, 0x00)).toBe(0x00);
    now = new Date("2026-01-01T00:00:07Z");
    expect(readRegister(cmos, 0x00)).toBe(0x07);
  });

  it("never is in the middle of an update, has no alarm, and a good battery", () => {
    const cmos = new Cmos(words());
    for (const index of [0x0a, 0x0c, 0x0d]) writeRegister(cmos, index, 0xff);
    expect([0x0a, 0x0c, 0x0d].map((index) => readRegister(cmos, index))).toEqual([0x26, 0x00, 0x80]);
  });

  it("uses the host's clock by default", () => {
    const cmos = new Cmos(words());
    const before = new Date().getUTCFullYear();
    const year = readRegister(cmos, 0x09);
    const after = new Date().getUTCFullYear();
    expect([before, after].map((full) => Number.parseInt(String(full % 100), 16))).toContain(year);
  });

  it("keeps its memory, in the shared words, and ignores the NMI bit of the index", () => {
    const state = words();
    const first = new Cmos(state);
    writeRegister(first, 0x40, 0xab);
    writeRegister(first, 0x7f | 0x80, 0xcd);
    const second = new Cmos(state);
    expect(readRegister(second, 0x40)).toBe(0xab);
    expect(readRegister(second, 0xff)).toBe(0xcd);
    // The index register is shared too.
    first.write(0, 1, 0x40);
    expect(second.read(1, 1)).toBe(0xab);
  });

  it("has an index register that cannot be read, and is 8 bits wide", () => {
    const cmos = new Cmos(words());
    writeRegister(cmos, 0x40, 1);
    expect(cmos.read(0, 1)).toBe(0xff);
    cmos.write(0, 2, 0x41);
    cmos.write(1, 4, 0x99);
    expect(cmos.read(1, 1)).toBe(1);
  });

  it("answers any access with a byte, and keeps what was written to memory (property)", () => {
    const operation = fc.tuple(fc.boolean(), fc.nat(3), fc.constantFrom(1, 1, 2, 4), fc.nat(0xff));
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 100 }), (operations) => {
        const cmos = new Cmos(words());
        const memory = new Uint8Array(128);
        let index = 0;
        for (const [write, offset, size, value] of operations) {
          if (!write) {
            const got = cmos.read(offset, size);
            expect(got).toBeGreaterThanOrEqual(0);
            expect(got).toBeLessThanOrEqual(0xff);
            const clock = CLOCK.includes(index) || (index >= 0x0a && index <= 0x0d);
            if (size === 1 && offset === 1 && !clock) expect(got).toBe(memory[index]);
            continue;
          }
          cmos.write(offset, size, value);
          if (size !== 1) continue;
          if (offset === 0) index = value & 0x7f;
          if (offset === 1) memory[index] = value;
        }
      }),
    );
  });
});
