/**
 * The part of an i8042 keyboard controller that a PC without keyboard needs: the status port, and command 0xFE, which
 * pulses the processor's reset line. Linux reboots through it with `reboot=k`.
 */
import type { BusDevice } from "./bus.ts";

const DATA = 0;
const COMMAND = 4;

const CMD_PULSE_RESET = 0xfe;

export class I8042 implements BusDevice {
  /** Ports 0x60 to 0x64; 0x61 is the PIT's and never gets here, as KVM handles it. */
  static readonly PORTS = 5;

  readonly #reset: () => void;

  constructor(reset: () => void) {
    this.#reset = reset;
  }

  read(offset: number): number {
    // Status 0: neither buffer full, so that a driver which polls before a command goes on at once. No data, ever.
    return offset === DATA || offset === COMMAND ? 0 : 0xff;
  }

  write(offset: number, _size: number, value: number): void {
    if (offset === COMMAND && value === CMD_PULSE_RESET) this.#reset();
  }
}
