/** The main thread's side of a machine's memory balloon: what is wanted of the guest, and what came of it. */
import { NUM_PAGES_WORD, ACTUAL_WORD, STATS_QUEUE } from "../devices/virtio/balloon/balloon.ts";
import { balloonCounters, type BalloonCounts } from "../devices/virtio/balloon/balloon-counters.ts";
import { GuestStatistics, type GuestMemoryFigures } from "../devices/virtio/balloon/guest-statistics.ts";
import { PAGE } from "../devices/virtio/balloon/page-runs.ts";
import { TsvmError } from "../errors.ts";
import { monotonicNow } from "./clock.ts";
import { virtioStateOf } from "./devices.ts";
import { ring } from "./doorbell.ts";
import type { BalloonBackendPlan, MachinePlan, VirtioPlan } from "./plan.ts";

/** Figures that are younger are not asked for again, ms. */
const FRESH = 1000;

/** A machine without a balloon was asked for something of it. */
export class BalloonError extends TsvmError {
  override name = "BalloonError";
  constructor() {
    super("ERR_NO_BALLOON", "the machine has no balloon", {
      hint: "give it one when it is made: balloon: {} in the description, tsvm boot --balloon on",
    });
  }
}

/** What the guest says of its memory. Bytes: swapIn, swapOut, free, total, available, caches; the others are counts. */
export interface GuestMemoryStats extends Readonly<GuestMemoryFigures> {
  /** ms since it said so. */
  readonly age: number;
}

/** Of the memory balloon; bytes. */
export interface BalloonStats extends BalloonCounts {
  /** What the guest is to give up. */
  readonly target: number;
  /** What it has given up, as it says. */
  readonly actual: number;
  /** Whether a driver of the guest's works with it. */
  readonly connected: boolean;
  /** Undefined as long as it has not said anything. */
  readonly guest: GuestMemoryStats | undefined;
}

type BalloonPlan = VirtioPlan & { readonly backend: BalloonBackendPlan };

function balloonOf(plan: MachinePlan): BalloonPlan | undefined {
  return plan.virtio.find((device): device is BalloonPlan => device.backend.type === "balloon");
}

/** Tells the driver, now or when it comes up. Throws BalloonError. */
export function setBalloonTarget(plan: MachinePlan, bytes: number): void {
  const device = balloonOf(plan);
  if (device === undefined) throw new BalloonError();
  const state = virtioStateOf(plan, device);
  Atomics.store(state.configWords, NUM_PAGES_WORD, Math.floor(bytes / PAGE));
  // A driver that gets ready just now looks at the configuration afterwards.
  if (state.live) state.notifyConfig();
}

/** Where nobody else asks the guest for its figures, it is asked by this, for the next time. */
export function balloonStats(plan: MachinePlan): BalloonStats | undefined {
  const device = balloonOf(plan);
  if (device === undefined) return undefined;
  const { counters, statistics, statsInterval } = device.backend;
  const state = virtioStateOf(plan, device);
  const figures = new GuestStatistics(plan.shared, statistics.offset);
  const { latest } = figures;
  const age = latest === undefined ? undefined : monotonicNow() - latest.at;
  if (statsInterval === undefined && state.live && (age === undefined || age > FRESH)) {
    figures.request();
    ring(device.notifyFds[STATS_QUEUE]!);
  }
  return {
    target: pagesAt(state.configWords, NUM_PAGES_WORD),
    actual: pagesAt(state.configWords, ACTUAL_WORD),
    connected: state.live,
    ...balloonCounters(plan.shared, counters.offset).counts,
    guest: latest === undefined ? undefined : { age: age!, ...latest.figures },
  };
}

function pagesAt(config: Int32Array, word: number): number {
  return (Atomics.load(config, word) >>> 0) * PAGE;
}
