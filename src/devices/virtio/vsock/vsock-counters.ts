import { Counters } from "../../counters.ts";

export const VSOCK_COUNTERS = [
  "sentPackets",
  "sentBytes",
  "receivedPackets",
  "receivedBytes",
  "connections",
  "open",
  "refused",
  "errors",
] as const;

/** Numbers in {@link VSOCK_COUNTERS}. Sent and received are meant from the guest's point of view. */
export const VsockCounter = {
  sentPackets: 0,
  /** Payload only. */
  sentBytes: 1,
  receivedPackets: 2,
  receivedBytes: 3,
  /** That the other side has accepted, whichever side that is. */
  connections: 4,
  /** How many of them there are now. */
  open: 5,
  /** Connections that the other side has not accepted. */
  refused: 6,
  /** Packets that broke the protocol. */
  errors: 7,
} as const;

/** Counts since the start of the machine, and how many connections are open now; sent and received as the guest sees it. */
export type VsockCounts = Readonly<Record<(typeof VSOCK_COUNTERS)[number], number>>;

export type VsockCounters = Counters<(typeof VSOCK_COUNTERS)[number]>;

export function vsockCounters(buffer?: SharedArrayBuffer, offset = 0): VsockCounters {
  return new Counters(VSOCK_COUNTERS, buffer, offset);
}
