/**
 * What a worker needs to know of its machine: plain data (numbers, shared buffers, open file descriptors of this process)
 * that survives postMessage. Each thread builds its own objects over it.
 */
import type { InitialCpuState } from "../boot/load-kernel.ts";
import type { RateLimits } from "../devices/rate-limiter.ts";
import type { ConsolePort, WindowSize } from "../devices/virtio/console.ts";
import type { DiskPlan } from "../disk/plan.ts";
import type { VirtioModel } from "../devices/virtio/state.ts";
import type { kvm_cpuid_entry2 } from "../kvm/abi/structs.ts";
import type { GuestMemoryPlan } from "../kvm/guest-memory.ts";
import type { NetworkRateLimits } from "./description.ts";

/** A range of the machine's SharedArrayBuffer. */
export interface SharedRange {
  readonly offset: number;
  readonly bytes: number;
}

export interface BlkBackendPlan {
  readonly type: "blk";
  /** Of the image, as the description has it. */
  readonly path: string;
  readonly disk: DiskPlan;
  readonly serial: string;
  readonly rateLimits: RateLimits | undefined;
  /** Of {@link BlkCounters}. */
  readonly counters: SharedRange;
}

export interface EntropyBackendPlan {
  readonly type: "rng";
  /** Of EntropyCounters. */
  readonly counters: SharedRange;
}

export interface ConsoleBackendPlan {
  readonly type: "console";
  /** Of ConsoleCounters. */
  readonly counters: SharedRange;
  readonly ports: readonly ConsolePort[];
  readonly size: WindowSize;
}

export interface NetBackendPlan {
  readonly type: "net";
  /** For people: `user`, or the name of the tap device. */
  readonly name: string;
  /** Which frames {@link fd} takes: those of a tap device, or each after its length. */
  readonly link: "tap" | "stream";
  readonly fd: number;
  readonly rateLimits: NetworkRateLimits | undefined;
  /** Of NetCounters. */
  readonly counters: SharedRange;
}

export interface VsockBackendPlan {
  readonly type: "vsock";
  readonly cid: number;
  /** The listening unix socket, and what the unix sockets of the host's ports are called without the port. */
  readonly listenFd: number;
  readonly portPath: string;
  /** Of VsockCounters. */
  readonly counters: SharedRange;
}

export interface BalloonBackendPlan {
  readonly type: "balloon";
  /** ms between two questions for the guest's figures; 0: none, undefined: whoever wants to know asks. */
  readonly statsInterval: number | undefined;
  /** Of BalloonCounters, and of GuestStatistics. */
  readonly counters: SharedRange;
  readonly statistics: SharedRange;
}

export type VirtioBackendPlan =
  | EntropyBackendPlan
  | BlkBackendPlan
  | ConsoleBackendPlan
  | NetBackendPlan
  | VsockBackendPlan
  | BalloonBackendPlan;

export interface VirtioPlan {
  readonly model: VirtioModel;
  readonly state: SharedRange;
  /** Guest physical address of the register window, and the interrupt line. */
  readonly base: number;
  readonly irq: number;
  /** eventfd that raises the line. */
  readonly irqFd: number;
  /** eventfd by which a vCPU tells the I/O thread of a status change. */
  readonly wakeFd: number;
  /** ioeventfd of each queue. */
  readonly notifyFds: readonly number[];
  /** Of ActivityCounters. */
  readonly activity: SharedRange;
  readonly backend: VirtioBackendPlan;
}

export interface SerialPlan {
  readonly state: SharedRange;
  readonly irqFd: number;
  /** Blocking write end of the pipe that carries what the guest sends. */
  readonly outputFd: number;
  /** Non-blocking read end of the pipe with what the guest is to receive. */
  readonly inputFd: number;
  /** eventfd by which a vCPU says that the receive FIFO has room again. */
  readonly readyFd: number;
}

export interface MachinePlan {
  readonly shared: SharedArrayBuffer;
  readonly memory: GuestMemoryPlan;
  readonly vcpuMmapSize: number;
  /** Whether KVM shares registers through kvm_run (KVM_CAP_SYNC_REGS). */
  readonly syncRegs: boolean;
  readonly serial: SerialPlan;
  readonly cmos: SharedRange;
  /** Undefined in a machine without ACPI. */
  readonly acpiPower: { readonly state: SharedRange; readonly irqFd: number } | undefined;
  readonly virtio: readonly VirtioPlan[];
  /** eventfd that wakes the I/O thread for {@link ControlBlock} changes. */
  readonly ioControlFd: number;
  readonly control: SharedRange;
}

/** What one vCPU starts with. */
export interface VcpuPlan {
  readonly index: number;
  readonly fd: number;
  readonly cpuid: readonly kvm_cpuid_entry2[];
  /** Present for the boot processor; the others wait for INIT and SIPI. */
  readonly entry: InitialCpuState | undefined;
}

export type WorkerTask =
  | { readonly role: "vcpu"; readonly machine: MachinePlan; readonly vcpu: VcpuPlan }
  | { readonly role: "io"; readonly machine: MachinePlan };

export type WorkerRole = WorkerTask["role"];

/** What a new thread is given. */
export interface WorkerStart {
  /** Whose code it loads. */
  readonly role: WorkerRole;
  readonly loading: Int32Array;
}

/** Why a guest stopped of its own accord, as a vCPU sees it. */
export type GuestStop =
  { readonly kind: "reset" } | { readonly kind: "shutdown" } | { readonly kind: "triple-fault" };

/** What a worker says to the main thread. */
export type WorkerMessage =
  /** A vCPU is about to enter the guest for the first time. */
  | { readonly type: "running" }
  /** A vCPU is out of the guest, as it was asked to be. */
  | { readonly type: "paused" }
  /** The guest has begun to use a virtio device. */
  | { readonly type: "io-wanted" }
  | { readonly type: "guest-stop"; readonly stop: GuestStop }
  /** The user should know of it, and the machine goes on. */
  | { readonly type: "warning"; readonly text: string }
  | { readonly type: "failed"; readonly error: WorkerError }
  | { readonly type: "finished" };

/** A TsvmError (or any other) that crosses threads as plain data. */
export interface WorkerError {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly stack: string | undefined;
}
