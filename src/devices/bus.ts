import { TsvmError } from "../errors.ts";

/**
 * What sits on a bus: registers that are read and written at offsets from the device's own base.
 * `size` is 1, 2 or 4 bytes; values are unsigned. A device knows neither its address nor which thread calls.
 */
export interface BusDevice {
  read(offset: number, size: number): number;
  write(offset: number, size: number, value: number): void;
}

interface Range {
  readonly base: number;
  readonly end: number;
  readonly device: BusDevice;
}

/** An address space (port I/O or MMIO) with devices in it. Reads of nothing give all ones, writes to nothing vanish. */
export class Bus {
  readonly #ranges: Range[] = [];

  /** Puts `device` at [base, base + length). An overlap is a programming error. */
  insert(device: BusDevice, base: number, length: number): void {
    const end = base + length;
    const clash = this.#ranges.find((range) => base < range.end && end > range.base);
    if (clash !== undefined) {
      throw new TsvmError(
        "ERR_BUS_OVERLAP",
        `bus range 0x${base.toString(16)}..0x${end.toString(16)} overlaps 0x${clash.base.toString(16)}`,
      );
    }
    this.#ranges.push({ base, end, device });
  }

  read(address: number, size: number): number {
    const range = this.#find(address);
    if (range === undefined) return size === 1 ? 0xff : size === 2 ? 0xffff : 0xffff_ffff;
    return range.device.read(address - range.base, size);
  }

  write(address: number, size: number, value: number): void {
    const range = this.#find(address);
    range?.device.write(address - range.base, size, value);
  }

  // A machine has about a dozen ranges: a linear scan beats anything cleverer.
  #find(address: number): Range | undefined {
    for (let index = 0; index < this.#ranges.length; index++) {
      const range = this.#ranges[index]!;
      if (address >= range.base && address < range.end) return range;
    }
    return undefined;
  }
}
