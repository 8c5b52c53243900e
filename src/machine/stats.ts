/** What a machine uses of its host. */
import { fstatSync } from "node:fs";
import { BlkCounters, type DiskCounts, type DiskLatency } from "../devices/virtio/blk-counters.ts";
import {
  activityCounters,
  consoleCounters,
  entropyCounters,
  type ActivityCounts,
  type ConsoleCounts,
  type EntropyCounts,
} from "../devices/virtio/device-counters.ts";
import { netCounters, type NetCounts } from "../devices/virtio/net/net-counters.ts";
import { vsockCounters, type VsockCounts } from "../devices/virtio/vsock/vsock-counters.ts";
import { diskDevice } from "../disk/root-device.ts";
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
  /** Waits for a rate limit do not count. */
  readonly latency: DiskLatency;
}

/** One of the machine's networks: eth0, eth1, … in the guest. */
export interface NetworkStats extends NetCounts {
  /** `user`, or the name of the tap device. */
  readonly name: string;
}

/** One of the machine's virtio devices. */
export interface DeviceStats extends ActivityCounts {
  /** vda, vdb, … for disks, eth0, eth1, … for networks, console, entropy, vsock, balloon. */
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
  /** Undefined in a machine without one. */
  readonly balloon: BalloonStats | undefined;
  /** Undefined in a machine without one. */
  readonly vsock: VsockCounts | undefined;
  /** Undefined in a machine without a virtio console. */
  readonly console: ConsoleCounts | undefined;
  readonly entropy: EntropyCounts;
  /** All virtio devices, in the order of their addresses. */
  readonly devices: readonly DeviceStats[];
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
    ...deviceStats(plan),
    balloon: balloonStats(plan),
    exits: control.exits,
  };
}

type DevicesOf = Pick<MachineStats, "disks" | "networks" | "vsock" | "console" | "entropy" | "devices">;

function deviceStats({ shared, virtio }: MachinePlan): DevicesOf {
  const disks: DiskStats[] = [];
  const networks: NetworkStats[] = [];
  const devices: DeviceStats[] = [];
  let vsock: VsockCounts | undefined;
  let console: ConsoleCounts | undefined;
  let entropy: EntropyCounts = { requests: 0, bytes: 0 };
  for (const { backend, activity } of virtio) {
    let name: string = backend.type;
    switch (backend.type) {
      case "blk": {
        name = diskDevice(disks.length).slice("/dev/".length);
        const { counts, latency } = new BlkCounters(shared, backend.counters.offset);
        disks.push({ path: backend.path, ...counts, latency });
        break;
      }
      case "net":
        name = `eth${networks.length}`;
        networks.push({ name: backend.name, ...netCounters(shared, backend.counters.offset).counts });
        break;
      case "vsock":
        vsock = vsockCounters(shared, backend.counters.offset).counts;
        break;
      case "console":
        console = consoleCounters(shared, backend.counters.offset).counts;
        break;
      case "rng":
        name = "entropy";
        entropy = entropyCounters(shared, backend.counters.offset).counts;
    }
    devices.push({ name, ...activityCounters(shared, activity.offset).counts });
  }
  return { disks, networks, vsock, console, entropy, devices };
}

/** Pages of a memfd are allocated as they are touched; stat(2) counts them in blocks of 512 bytes. */
function residentBytes(memoryFd: number): number {
  return fstatSync(memoryFd).blocks * 512;
}
