/** What a machine uses of its host. */
import { fstatSync } from "node:fs";
import { BlkCounters, type DiskCounts } from "../devices/virtio/blk-counters.ts";
import { netCounters, type NetCounts } from "../devices/virtio/net/net-counters.ts";
import { vsockCounters, type VsockCounts } from "../devices/virtio/vsock/vsock-counters.ts";
import { balloonStats, type BalloonStats } from "./balloon.ts";
import type { Assembly } from "./assemble.ts";
import { monotonicNow } from "./clock.ts";
import type { ExitCounts } from "./control.ts";
import type { MachinePlan } from "./plan.ts";

/** ms of CPU time, the guest's own and tsvm's for it. */
export interface CpuTime {
  readonly total: number;
  /** Of each vCPU's thread. */
  readonly vcpus: readonly number[];
  /** Of the thread that serves the virtio devices. */
  readonly io: number;
}

/** Bytes. */
export interface MemoryUse {
  /** What the guest sees. */
  readonly size: number;
  /** What it has touched, and so takes from the host. */
  readonly resident: number;
}

/** One of the machine's disks, in the order in which the guest sees them. */
export interface DiskStats extends DiskCounts {
  /** Of the image. */
  readonly path: string;
}

/** One of the machine's networks: eth0, eth1, … in the guest. */
export interface NetworkStats extends NetCounts {
  /** `user`, or the name of the tap device. */
  readonly name: string;
}

/** What a machine uses of its host. */
export interface MachineStats {
  /** ms since the guest's first instruction, pauses included; 0 before it. */
  readonly uptime: number;
  readonly cpuTime: CpuTime;
  readonly memory: MemoryUse;
  readonly disks: readonly DiskStats[];
  readonly networks: readonly NetworkStats[];
  /** Undefined where the machine has no vsock device. */
  readonly vsock: VsockCounts | undefined;
  /** Undefined in a machine without one. */
  readonly balloon: BalloonStats | undefined;
  readonly exits: ExitCounts;
}

/** Some 20 µs; only while the guest memory is there. */
export function machineStats({ control, plan, vcpus }: Assembly): MachineStats {
  const { firstEntry } = control;
  const times = vcpus.map(({ index }) => control.vcpuClock(index).used);
  const io = control.ioClock.used;
  return {
    uptime: firstEntry === 0 ? 0 : monotonicNow() - firstEntry,
    cpuTime: { total: times.reduce((sum, used) => sum + used, io), vcpus: times, io },
    memory: { size: plan.memory.size, resident: residentBytes(plan.memory.fd) },
    disks: plan.virtio.flatMap(({ backend }) =>
      backend.type === "blk"
        ? [{ path: backend.path, ...new BlkCounters(plan.shared, backend.counters.offset).counts }]
        : [],
    ),
    networks: plan.virtio.flatMap(({ backend }) =>
      backend.type === "net"
        ? [{ name: backend.name, ...netCounters(plan.shared, backend.counters.offset).counts }]
        : [],
    ),
    vsock: vsockCounts(plan),
    balloon: balloonStats(plan),
    exits: control.exits,
  };
}

function vsockCounts({ shared, virtio }: MachinePlan): VsockCounts | undefined {
  for (const { backend } of virtio) {
    if (backend.type === "vsock") return vsockCounters(shared, backend.counters.offset).counts;
  }
  return undefined;
}

/** Pages of a memfd are allocated as they are touched; stat(2) counts them in blocks of 512 bytes. */
function residentBytes(memoryFd: number): number {
  return fstatSync(memoryFd).blocks * 512;
}
