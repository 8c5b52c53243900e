/** What each virtio device counts, whatever it is, and what the smallest ones have to count. */
import { defineCounters, type CountersOf, type CountsOf } from "../counters.ts";

const ACTIVITY_COUNTERS = defineCounters(
  // That the device has raised.
  "interrupts",
  // How often the driver's notifications have woken the device; several in a row wake it once.
  "notifications",
);
export const {
  bytes: ACTIVITY_COUNTER_BYTES,
  numbers: ActivityCounter,
  over: activityCounters,
} = ACTIVITY_COUNTERS;
/** Counts since the start of the machine. Of notifications in a row, which wake a device once, one counts. */
export type ActivityCounts = CountsOf<typeof ACTIVITY_COUNTERS>;
export type ActivityCounters = CountersOf<typeof ACTIVITY_COUNTERS>;

/** Bytes of all ports, the one of tsvm's init as well; sent and received are meant from the guest's point of view. */
const CONSOLE_COUNTERS = defineCounters("sentBytes", "receivedBytes");
export const {
  bytes: CONSOLE_COUNTER_BYTES,
  numbers: ConsoleCounter,
  over: consoleCounters,
} = CONSOLE_COUNTERS;
/** Bytes since the start of the machine, of all ports; sent and received as the guest sees it. */
export type ConsoleCounts = CountsOf<typeof CONSOLE_COUNTERS>;
export type ConsoleCounters = CountersOf<typeof CONSOLE_COUNTERS>;

const ENTROPY_COUNTERS = defineCounters("requests", "bytes");
export const {
  bytes: ENTROPY_COUNTER_BYTES,
  numbers: EntropyCounter,
  over: entropyCounters,
} = ENTROPY_COUNTERS;
/** Counts since the start of the machine. */
export type EntropyCounts = CountsOf<typeof ENTROPY_COUNTERS>;
export type EntropyCounters = CountersOf<typeof ENTROPY_COUNTERS>;
