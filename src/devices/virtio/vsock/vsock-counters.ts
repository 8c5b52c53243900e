import { defineCounters, type CountersOf, type CountsOf } from "../../counters.ts";

/** Sent and received are meant from the guest's point of view. */
const VSOCK_COUNTERS = defineCounters(
  "sentPackets",
  // Payload only.
  "sentBytes",
  "receivedPackets",
  "receivedBytes",
  // That the other side has accepted, whichever side that is.
  "connections",
  // How many of them there are now.
  "open",
  // Connections that the other side has not accepted.
  "refused",
  // Packets that broke the protocol.
  "errors",
);

export const { bytes: VSOCK_COUNTER_BYTES, numbers: VsockCounter, over: vsockCounters } = VSOCK_COUNTERS;

/** Counts since the start of the machine, and how many connections are open now; sent and received as the guest sees it. */
export type VsockCounts = CountsOf<typeof VSOCK_COUNTERS>;

export type VsockCounters = CountersOf<typeof VSOCK_COUNTERS>;
