/**
 * The control socket of a monitor: JSON objects, one a line. The monitor greets with {@link Hello}; then the client sends
 * {@link Request}s and gets a {@link Response} to each, in any order. `console` makes the connection carry {@link Notice}s as well.
 * Bytes travel in base64. docs/manager.md has the whole of it.
 */
import type { ExitRecord, VmState } from "./record.ts";
import type { BalloonStats } from "../machine/balloon.ts";
import type { ConsoleCounts, EntropyCounts } from "../devices/virtio/device-counters.ts";
import type { VsockCounts } from "../devices/virtio/vsock/vsock-counters.ts";
import type { DeviceStats, DiskStats, NetworkStats } from "../machine/stats.ts";

/** Raised when a client of this version could misunderstand a monitor of the next. */
export const PROTOCOL = 1;

/** Longer lines end the connection. */
export const LONGEST_REQUEST = 64 * 1024;
export const LONGEST_NOTICE = 4 * 2 ** 20;

export interface Hello {
  readonly tsvm: {
    readonly protocol: number;
    readonly version: string;
    readonly name: string;
    readonly pid: number;
  };
}

export interface Methods {
  status: { params: undefined; result: MonitorStatus };
  /** Answered at once; the end of the VM is the end of the connection. `force`: as if its power was cut. */
  stop: { params: { timeout?: number; force?: boolean }; result: Record<string, never> };
  pause: { params: undefined; result: Record<string, never> };
  resume: { params: undefined; result: Record<string, never> };
  powerButton: { params: undefined; result: { known: boolean } };
  stats: { params: undefined; result: MonitorStats };
  /** How much memory the guest is to give up. */
  balloon: { params: { bytes: number }; result: Record<string, never> };
  /** From now on notices of the console; first what it has shown lately, if `scrollback`. */
  console: { params: { scrollback?: boolean; input?: boolean }; result: Record<string, never> };
  /** Of a connection that has asked for the console with `input`. */
  input: { params: { data: string }; result: Record<string, never> };
  resize: { params: { rows: number; columns: number }; result: Record<string, never> };
}

export type Method = keyof Methods;

export interface Request<M extends Method = Method> {
  readonly id: number;
  readonly method: M;
  readonly params?: Methods[M]["params"];
}

export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

export type Response<M extends Method = Method> =
  | { readonly id: number; readonly result: Methods[M]["result"] }
  /** `id` is null where the request had none that can be read. */
  | { readonly id: number | null; readonly error: ErrorBody };

export type Notice =
  | { readonly notice: "console"; readonly data: string }
  /** The client reads too slowly: so many bytes were left out here. */
  | { readonly notice: "lost"; readonly bytes: number }
  | { readonly notice: "state"; readonly state: VmState; readonly exit?: ExitRecord | undefined };

export interface MonitorStatus {
  readonly state: VmState;
  readonly since: number;
  readonly startedAt?: number | undefined;
  readonly restarts: number;
  readonly exit?: ExitRecord | undefined;
  readonly pid: number;
  readonly viewers: number;
  /** Which definition it runs by, and what that gives the machine; what is stored may be newer. Memory in bytes. */
  readonly definedAt: number;
  readonly cpus: number;
  readonly memory: number;
  /** Of the host, and where in the guest they lead: `8080:80`. */
  readonly ports: readonly string[];
}

/** Of the monitor's process and the machine in it. */
export interface MonitorStats {
  /** ms that all its threads have computed, since the monitor started. */
  readonly cpuTime: number;
  /** ms of that in the threads of processors and devices, since the machine was started. */
  readonly guestCpuTime: number | null;
  /** Bytes that the process really has in memory: guest memory that was touched, and tsvm itself. */
  readonly resident: number;
  /** Bytes of that that are guest memory. */
  readonly guestResident: number | null;
  /** Bytes of RAM that the guest was given. */
  readonly memory: number;
  readonly cpus: number;
  /** Exits to user space so far, by kind. */
  readonly exits: Readonly<Record<string, number>>;
  /** One for each disk, in the order vda, vdb, … Null between two lives of a machine. */
  readonly disks: readonly DiskStats[] | null;
  /** One for each network, in the order eth0, eth1, … */
  readonly networks: readonly NetworkStats[] | null;
  readonly balloon: BalloonStats | null;
  readonly vsock: VsockCounts | null;
  readonly console: ConsoleCounts | null;
  readonly entropy: EntropyCounts | null;
  /** All virtio devices. */
  readonly devices: readonly DeviceStats[] | null;
  /** ms since the guest's first instruction. */
  readonly uptime: number | null;
  /** ms that the thread of each processor, and that of the devices, have computed. */
  readonly vcpuTimes: readonly number[] | null;
  readonly ioCpuTime: number | null;
}
