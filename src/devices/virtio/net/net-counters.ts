import { defineCounters, type CountersOf, type CountsOf } from "../../counters.ts";

/** Received and sent are meant from the guest's point of view. */
const NET_COUNTERS = defineCounters(
  "receivedFrames",
  "receivedBytes",
  "sentFrames",
  "sentBytes",
  // Frames of an impossible length, or that the host's end did not take.
  "dropped",
  // Waits for a rate limit.
  "throttled",
);

export const { bytes: NET_COUNTER_BYTES, numbers: NetCounter, over: netCounters } = NET_COUNTERS;

/** Counts since the start of the machine; received and sent as the guest sees it, bytes without the virtio header. */
export type NetCounts = CountsOf<typeof NET_COUNTERS>;

export type NetCounters = CountersOf<typeof NET_COUNTERS>;
