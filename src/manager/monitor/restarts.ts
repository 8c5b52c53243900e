/** When a machine that has ended is started again, and how long that waits. */
import type { RestartPolicy } from "../../definition/definition.ts";
import type { ExitRecord } from "../record.ts";

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
/** A machine that ran this long was well: the next delay is the first again. */
const WELL_AFTER_MS = 10_000;

export class Restarts {
  readonly #policy: RestartPolicy;
  /** Restarts so far, reboots by the guest not counted. */
  count = 0;
  #delay = FIRST_DELAY_MS;

  constructor(policy: RestartPolicy = { policy: "no" }) {
    this.#policy = policy;
  }

  /** ms to wait before the next start, or undefined if there is to be none. `ranFor`: ms that the machine ran. */
  next(exit: ExitRecord, ranFor: number): number | undefined {
    if (!this.#wanted(exit)) return undefined;
    this.count++;
    return this.#backOff(ranFor);
  }

  /** The same for a guest that has reset itself to boot again. */
  reboot(ranFor: number): number {
    return ranFor >= WELL_AFTER_MS ? 0 : this.#backOff(ranFor);
  }

  #wanted({ status }: ExitRecord): boolean {
    const { policy, maxRetries = Infinity } = this.#policy;
    if (policy === "on-failure") return status !== 0 && this.count < maxRetries;
    return policy !== "no";
  }

  #backOff(ranFor: number): number {
    if (ranFor >= WELL_AFTER_MS) this.#delay = FIRST_DELAY_MS;
    const delay = this.#delay;
    this.#delay = Math.min(delay * 2, LONGEST_DELAY_MS);
    return delay;
  }
}
