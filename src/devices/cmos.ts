/**
 * The clock and memory of an MC146818 real-time clock (Motorola data sheet), read-only in what it tells: the host's time in
 * UTC. There are no alarms and no periodic interrupts. The 128 bytes of battery memory hold what is written to them.
 */
import type { BusDevice } from "./bus.ts";

const INDEX = 0;
const DATA = 1;

const SECONDS = 0x00;
const MINUTES = 0x02;
const HOURS = 0x04;
const DAY_OF_WEEK = 0x06;
const DAY_OF_MONTH = 0x07;
const MONTH = 0x08;
const YEAR = 0x09;
const REGISTER_A = 0x0a;
const REGISTER_B = 0x0b;
const REGISTER_C = 0x0c;
const REGISTER_D = 0x0d;
const CENTURY = 0x32;

const A_32768_HZ = 0x26;
const B_24_HOURS = 0x02;
const B_BINARY = 0x04;
const D_VALID_RAM_AND_TIME = 0x80;

const INDEX_MASK = 0x7f;

export class Cmos implements BusDevice {
  static readonly PORTS = 2;
  /** One word for the index register, then one per byte of battery memory. */
  static readonly STATE_BYTES = (1 + 128) * 4;

  readonly #words: Int32Array;
  readonly #now: () => Date;

  constructor(words: Int32Array, now: () => Date = () => new Date()) {
    this.#words = words;
    this.#now = now;
  }

  read(offset: number, size: number): number {
    if (size !== 1 || offset !== DATA) return 0xff;
    const index = this.#words[0]! & INDEX_MASK;
    return this.#register(index);
  }

  write(offset: number, size: number, value: number): void {
    if (size !== 1) return;
    if (offset === INDEX) this.#words[0] = value & INDEX_MASK;
    else if (offset === DATA) this.#words[1 + (this.#words[0]! & INDEX_MASK)] = value;
  }

  #register(index: number): number {
    const now = this.#now();
    switch (index) {
      case SECONDS:
        return this.#format(now.getUTCSeconds());
      case MINUTES:
        return this.#format(now.getUTCMinutes());
      case HOURS:
        return this.#format(now.getUTCHours());
      case DAY_OF_WEEK:
        return this.#format(now.getUTCDay() + 1);
      case DAY_OF_MONTH:
        return this.#format(now.getUTCDate());
      case MONTH:
        return this.#format(now.getUTCMonth() + 1);
      case YEAR:
        return this.#format(now.getUTCFullYear() % 100);
      case CENTURY:
        return this.#format(Math.floor(now.getUTCFullYear() / 100));
      case REGISTER_A:
        // Update-in-progress is never set: the time is always whole.
        return A_32768_HZ;
      case REGISTER_B:
        return B_24_HOURS | (this.#words[1 + REGISTER_B]! & B_BINARY);
      case REGISTER_C:
        return 0;
      case REGISTER_D:
        return D_VALID_RAM_AND_TIME;
      default:
        return this.#words[1 + index]! & 0xff;
    }
  }

  /** BCD, the chip's default, or binary when register B says so. */
  #format(value: number): number {
    const binary = (this.#words[1 + REGISTER_B]! & B_BINARY) !== 0;
    return binary ? value : ((Math.floor(value / 10) << 4) | (value % 10)) & 0xff;
  }
}
