import { Counters } from "../../counters.ts";

export const BALLOON_COUNTERS = ["inflatedBytes", "deflatedBytes", "reportedBytes", "errors"] as const;

/** Numbers in {@link BALLOON_COUNTERS}. */
export const BalloonCounter = {
  /** Pages that the guest has put into the balloon. */
  inflatedBytes: 0,
  /** Pages that it has taken out again. */
  deflatedBytes: 1,
  /** Free pages that it has told of. */
  reportedBytes: 2,
  /** Pages that are not RAM, and memory that the host did not take back. */
  errors: 3,
} as const;

/** Counts since the start of the machine, as the guest has told them; `errors` counts what could not be taken back. */
export type BalloonCounts = Readonly<Record<(typeof BALLOON_COUNTERS)[number], number>>;

export type BalloonCounters = Counters<(typeof BALLOON_COUNTERS)[number]>;

export function balloonCounters(buffer?: SharedArrayBuffer, offset = 0): BalloonCounters {
  return new Counters(BALLOON_COUNTERS, buffer, offset);
}
