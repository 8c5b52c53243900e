/** What each virtio device counts, whatever it is, and what the smallest ones have to count. */
import { Counters } from "../counters.ts";

export const ACTIVITY_COUNTERS = ["interrupts", "notifications"] as const;

/** Numbers in {@link ACTIVITY_COUNTERS}. */
export const ActivityCounter = {
  /** That the device has raised. */
  interrupts: 0,
  /** How often the driver's notifications have woken the device; several in a row wake it once. */
  notifications: 1,
} as const;

/** Counts since the start of the machine. Of notifications in a row, which wake a device once, one counts. */
export type ActivityCounts = Readonly<Record<(typeof ACTIVITY_COUNTERS)[number], number>>;

export type ActivityCounters = Counters<(typeof ACTIVITY_COUNTERS)[number]>;

export function activityCounters(buffer?: SharedArrayBuffer, offset = 0): ActivityCounters {
  return new Counters(ACTIVITY_COUNTERS, buffer, offset);
}

/** Bytes of all ports, the one of tsvm's init as well; sent and received are meant from the guest's point of view. */
export const CONSOLE_COUNTERS = ["sentBytes", "receivedBytes"] as const;
/** Numbers in {@link CONSOLE_COUNTERS}. */
export const ConsoleCounter = { sentBytes: 0, receivedBytes: 1 } as const;
/** Bytes since the start of the machine, of all ports; sent and received as the guest sees it. */
export type ConsoleCounts = Readonly<Record<(typeof CONSOLE_COUNTERS)[number], number>>;
export type ConsoleCounters = Counters<(typeof CONSOLE_COUNTERS)[number]>;

export function consoleCounters(buffer?: SharedArrayBuffer, offset = 0): ConsoleCounters {
  return new Counters(CONSOLE_COUNTERS, buffer, offset);
}

export const ENTROPY_COUNTERS = ["requests", "bytes"] as const;
/** Numbers in {@link ENTROPY_COUNTERS}. */
export const EntropyCounter = { requests: 0, bytes: 1 } as const;
/** Counts since the start of the machine. */
export type EntropyCounts = Readonly<Record<(typeof ENTROPY_COUNTERS)[number], number>>;
export type EntropyCounters = Counters<(typeof ENTROPY_COUNTERS)[number]>;

export function entropyCounters(buffer?: SharedArrayBuffer, offset = 0): EntropyCounters {
  return new Counters(ENTROPY_COUNTERS, buffer, offset);
}
