/**
 * Notices that all processors have halted for good. One in HLT with interrupts off never leaves the kernel by itself, so all are
 * looked at now and then. Two rounds in a row must agree, because a processor may wake another between two looks of one round.
 */
import { VcpuState, type ControlBlock } from "./control.ts";

const INTERVAL_MS = 50;
const LONGEST_INTERVAL_MS = 1000;

export class HaltWatch {
  readonly #control: ControlBlock;
  readonly #probe: () => void;
  readonly #onHalt: () => void;
  #timer: NodeJS.Timeout | undefined;

  /** `probe` has every vCPU say what it is doing. */
  constructor(control: ControlBlock, probe: () => void, onHalt: () => void) {
    this.#control = control;
    this.#probe = probe;
    this.#onHalt = onHalt;
  }

  start(): void {
    this.#schedule(INTERVAL_MS, false);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #schedule(interval: number, haltedBefore: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const halted = this.#allHalted();
      if (halted && haltedBefore) {
        this.#onHalt();
        return;
      }
      this.#probe();
      this.#schedule(halted ? INTERVAL_MS : Math.min(interval * 1.5, LONGEST_INTERVAL_MS), halted);
    }, interval);
    this.#timer.unref();
  }

  #allHalted(): boolean {
    for (let index = 0; index < this.#control.cpus; index++) {
      if (this.#control.vcpu(index).state !== VcpuState.HaltedForGood) return false;
    }
    return true;
  }
}
