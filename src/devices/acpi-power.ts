/** Power off, reset and the power button of a hardware-reduced ACPI machine. The tables of src/boot/acpi tell of it. */
import {
  OSPM_PRESENT,
  PORTS,
  POWER_BUTTON_EVENT,
  REGISTER,
  RESET_VALUE,
  SLEEP_TYPE_S5,
  SLP_EN,
  SLP_TYP_MASK,
  SLP_TYP_SHIFT,
} from "../boot/acpi/power-registers.ts";
import type { BusDevice } from "./bus.ts";

export interface AcpiPowerEffects {
  powerOff(): void;
  reset(): void;
  /** Raises the event device's interrupt. */
  interrupt(): void;
}

const EVENTS = 0;
const PRESENT = 1;

export class AcpiPower implements BusDevice {
  static readonly PORTS = PORTS;
  /** Two words: the events nobody has read yet; whether the guest reads ACPI tables. */
  static readonly STATE_BYTES = 8;

  readonly #words: Int32Array;
  readonly #effects: AcpiPowerEffects;

  constructor(words: Int32Array, effects: AcpiPowerEffects) {
    this.#words = words;
    this.#effects = effects;
  }

  read(offset: number, size: number): number {
    if (offset === REGISTER.EVENT && size === 4) return Atomics.exchange(this.#words, EVENTS, 0) >>> 0;
    // Registers are write-only or have nothing to say: no wake-up has ever happened.
    return 0;
  }

  write(offset: number, size: number, value: number): void {
    if (size !== 1) return;
    if (offset === REGISTER.SLEEP_CONTROL) {
      const sleepType = (value >> SLP_TYP_SHIFT) & SLP_TYP_MASK;
      if ((value & SLP_EN) !== 0 && sleepType === SLEEP_TYPE_S5) this.#effects.powerOff();
    } else if (offset === REGISTER.RESET && value === RESET_VALUE) {
      this.#effects.reset();
    } else if (offset === REGISTER.OSPM && value === OSPM_PRESENT) {
      Atomics.store(this.#words, PRESENT, 1);
    }
  }

  pressPowerButton(): void {
    Atomics.or(this.#words, EVENTS, POWER_BUTTON_EVENT);
    this.#effects.interrupt();
  }

  /** Whether an operating system has read the ACPI tables; no other can know of the power button. */
  get ospmPresent(): boolean {
    return Atomics.load(this.#words, PRESENT) !== 0;
  }

  /** Whether the guest has yet to take notice of the power button. */
  get powerButtonPending(): boolean {
    return (Atomics.load(this.#words, EVENTS) & POWER_BUTTON_EVENT) !== 0;
  }
}
