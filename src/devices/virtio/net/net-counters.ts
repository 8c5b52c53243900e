import { Counters } from "../../counters.ts";

export const NET_COUNTERS = [
  "receivedFrames",
  "receivedBytes",
  "sentFrames",
  "sentBytes",
  "dropped",
  "throttled",
] as const;

/** Numbers in {@link NET_COUNTERS}. Received and sent are meant from the guest's point of view. */
export const NetCounter = {
  receivedFrames: 0,
  receivedBytes: 1,
  sentFrames: 2,
  sentBytes: 3,
  /** Frames of an impossible length, or that the host's end did not take. */
  dropped: 4,
  /** Waits for a rate limit. */
  throttled: 5,
} as const;

/** Counts since the start of the machine; received and sent as the guest sees it, bytes without the virtio header. */
export type NetCounts = Readonly<Record<(typeof NET_COUNTERS)[number], number>>;

export type NetCounters = Counters<(typeof NET_COUNTERS)[number]>;

export function netCounters(buffer?: SharedArrayBuffer, offset = 0): NetCounters {
  return new Counters(NET_COUNTERS, buffer, offset);
}
