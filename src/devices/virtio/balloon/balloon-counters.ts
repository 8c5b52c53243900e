import { defineCounters, type CountersOf, type CountsOf } from "../../counters.ts";

const BALLOON_COUNTERS = defineCounters(
  // Pages that the guest has put into the balloon.
  "inflatedBytes",
  // Pages that it has taken out again.
  "deflatedBytes",
  // Free pages that it has told of.
  "reportedBytes",
  // Pages that are not RAM, and memory that the host did not take back.
  "errors",
);

export const {
  bytes: BALLOON_COUNTER_BYTES,
  numbers: BalloonCounter,
  over: balloonCounters,
} = BALLOON_COUNTERS;

/** Counts since the start of the machine, as the guest has told them; `errors` counts what could not be taken back. */
export type BalloonCounts = CountsOf<typeof BALLOON_COUNTERS>;

export type BalloonCounters = CountersOf<typeof BALLOON_COUNTERS>;
