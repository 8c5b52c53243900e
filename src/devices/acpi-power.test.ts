import { describe, expect, it, vi } from "vitest";
import { AcpiPower } from "./acpi-power.ts";

function device() {
  const effects = { powerOff: vi.fn(), reset: vi.fn(), interrupt: vi.fn() };
  const words = new Int32Array(new SharedArrayBuffer(AcpiPower.STATE_BYTES));
  return { power: new AcpiPower(words, effects), other: new AcpiPower(words, effects), ...effects };
}

const [SLEEP_CONTROL, SLEEP_STATUS, RESET, OSPM, EVENT] = [0, 1, 2, 3, 4];

describe("AcpiPower", () => {
  it("powers off for sleep type 5 with SLP_EN, and for nothing else", () => {
    const { power, powerOff, reset } = device();
    for (let value = 0; value < 256; value++) {
      // Reserved bits are ignored: SLP_TYPx are bits 2 to 4, SLP_EN is bit 5.
      if ((value & 0x3c) !== 0x34) power.write(SLEEP_CONTROL, 1, value);
    }
    expect(powerOff).not.toHaveBeenCalled();
    power.write(SLEEP_CONTROL, 1, 0x34);
    expect(powerOff).toHaveBeenCalledOnce();
    expect(reset).not.toHaveBeenCalled();
  });

  it("takes a second request to power off", () => {
    const { power, powerOff } = device();
    power.write(SLEEP_CONTROL, 1, 0x34);
    power.write(SLEEP_CONTROL, 1, 0x34);
    expect(powerOff).toHaveBeenCalledTimes(2);
  });

  it("resets for the value in the FADT only", () => {
    const { power, reset } = device();
    for (const value of [0, 2, 3, 0xff]) power.write(RESET, 1, value);
    expect(reset).not.toHaveBeenCalled();
    power.write(RESET, 1, 1);
    expect(reset).toHaveBeenCalledOnce();
  });

  it("ignores accesses that are wider than the register", () => {
    const { power, powerOff, reset } = device();
    power.write(SLEEP_CONTROL, 4, 0x0001_0034);
    power.write(RESET, 2, 1);
    power.write(EVENT, 4, 0xffff_ffff);
    expect(powerOff).not.toHaveBeenCalled();
    expect(reset).not.toHaveBeenCalled();
    expect(power.read(EVENT, 4)).toBe(0);
    expect(power.read(SLEEP_STATUS, 1)).toBe(0);
    expect(power.read(SLEEP_CONTROL, 4)).toBe(0);
  });

  it("tells of the power button once, in whichever thread the guest asks", () => {
    const { power, other, interrupt } = device();
    power.pressPowerButton();
    power.pressPowerButton();
    expect(interrupt).toHaveBeenCalledTimes(2);
    expect(power.powerButtonPending).toBe(true);
    expect(other.read(EVENT, 1)).toBe(0);
    expect(other.read(EVENT, 4)).toBe(1);
    expect(other.read(EVENT, 4)).toBe(0);
    expect(power.powerButtonPending).toBe(false);
  });

  it("knows whether a guest reads ACPI tables", () => {
    const { power, other } = device();
    expect(other.ospmPresent).toBe(false);
    power.write(OSPM, 1, 0);
    expect(other.ospmPresent).toBe(false);
    power.write(OSPM, 1, 1);
    expect(other.ospmPresent).toBe(true);
  });
});
