/** The block devices of a machine, on its I/O thread, and the engine that they share. */
import { RateLimiter } from "../devices/rate-limiter.ts";
import { BlkCounters } from "../devices/virtio/blk-counters.ts";
import { VirtioBlk } from "../devices/virtio/blk.ts";
import type { VirtioState } from "../devices/virtio/state.ts";
import { IoEngine } from "../disk/async/io-engine.ts";
import type { BlockBackend } from "../disk/backend.ts";
import { buildDisk } from "../disk/plan.ts";
import { EPOLLIN } from "../ffi/constants.ts";
import type { GuestMemory } from "../kvm/guest-memory.ts";
import { monotonicNow } from "./clock.ts";
import { ring } from "./doorbell.ts";
import type { EventLoop } from "./event-loop.ts";
import type { BlkBackendPlan, MachinePlan, VirtioPlan } from "./plan.ts";

export class Disks {
  readonly #machine: MachinePlan;
  readonly #loop: EventLoop;
  readonly #warn: (text: string) => void;
  readonly #open: { disk: BlockBackend; state: VirtioState }[] = [];
  #engine: IoEngine | undefined;

  /** `warn` is told of damage that is found in an image while it is used. */
  constructor(machine: MachinePlan, loop: EventLoop, warn: (text: string) => void) {
    this.#machine = machine;
    this.#loop = loop;
    this.#warn = warn;
  }

  open(
    state: VirtioState,
    memory: GuestMemory,
    { notifyFds }: VirtioPlan,
    { disk: plan, serial, rateLimits, counters }: BlkBackendPlan,
  ): VirtioBlk {
    if (this.#open.length === 0) this.#startEngine();
    const disk = buildDisk(plan, { report: (error) => this.#warn(error.message) });
    this.#open.push({ disk, state });
    const bell = (): void => ring(notifyFds[0]!);
    return new VirtioBlk(state, memory, disk, {
      readOnly: plan.readOnly,
      serial,
      engine: this.#engine,
      limiter: rateLimits === undefined ? undefined : new RateLimiter(rateLimits, monotonicNow()),
      counters: new BlkCounters(this.#machine.shared, counters.offset),
      now: monotonicNow,
      runLater: (delay) => {
        if (delay > 0) this.#loop.callLater(delay, bell);
        else bell();
      },
    });
  }

  /** Ends what is under way; what a format still holds in memory goes to the file. */
  close(): void {
    this.#engine?.drain();
    this.#engine?.close();
    for (const { disk, state } of this.#open) {
      disk.close?.();
      // A vCPU may wait for what nobody will end any more.
      state.abandonWork();
    }
  }

  #startEngine(): void {
    const engine = IoEngine.create();
    if (engine === undefined) return;
    this.#engine = engine;
    this.#loop.watch(engine.fd, EPOLLIN, () => undefined);
    this.#loop.afterRound = () => engine.collect();
  }
}
