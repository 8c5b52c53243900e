/** The block devices of a machine, on its I/O thread, and the engine that they share. */
import { RateLimiter } from "../../devices/rate-limiter.ts";
import { BlkCounters } from "../../devices/virtio/blk-counters.ts";
import { VirtioBlk } from "../../devices/virtio/blk.ts";
import type { VirtioState } from "../../devices/virtio/state.ts";
import { IoEngine } from "../../disk/async/io-engine.ts";
import type { BlockBackend } from "../../disk/backend.ts";
import { buildDisk } from "../../disk/plan.ts";
import { EPOLLIN } from "../../ffi/constants.ts";
import { monotonicNow } from "../clock.ts";
import { ring } from "../doorbell.ts";
import type { BlkBackendPlan, VirtioPlan } from "../plan.ts";
import type { IoContext } from "./device.ts";

export class Disks {
  readonly #context: IoContext;
  readonly #open: { disk: BlockBackend; state: VirtioState }[] = [];
  #engine: IoEngine | undefined;

  constructor(context: IoContext) {
    this.#context = context;
  }

  open(
    state: VirtioState,
    { notifyFds }: VirtioPlan,
    { disk: plan, serial, rateLimits, counters }: BlkBackendPlan,
  ): VirtioBlk {
    if (this.#open.length === 0) this.#startEngine();
    const { machine, memory, loop, warn } = this.#context;
    // Damage that is found in an image while it is used.
    const disk = buildDisk(plan, { report: (error) => warn(error.message) });
    this.#open.push({ disk, state });
    const bell = (): void => ring(notifyFds[0]!);
    return new VirtioBlk(state, memory, disk, {
      readOnly: plan.readOnly,
      serial,
      engine: this.#engine,
      limiter: rateLimits === undefined ? undefined : new RateLimiter(rateLimits, monotonicNow()),
      counters: new BlkCounters(machine.shared, counters.offset),
      now: monotonicNow,
      runLater: (delay) => {
        if (delay > 0) loop.callLater(delay, bell);
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
    this.#context.loop.watch(engine.fd, EPOLLIN, () => undefined);
    this.#context.loop.afterRound = () => engine.collect();
  }
}
