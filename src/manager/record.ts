/** What is kept of a VM: its definition, and where it stands. */
import type { VmDefinition } from "../definition/definition.ts";
import type { PowerButton, StopReason } from "../machine/report.ts";

/** definition.json. Written by `define` under the VM's lock. */
export interface StoredDefinition {
  /** Of the VM, for as long as it is defined; names its control socket. */
  readonly id: string;
  /** ms since 1970, as all times here. */
  readonly definedAt: number;
  /** The file that it came from. */
  readonly source?: string;
  readonly definition: VmDefinition;
}

/** `defined`: never started. All but this and `stopped` need a living monitor. */
export type VmState = "defined" | "starting" | "running" | "paused" | "stopping" | "restarting" | "stopped";

/** Whether a VM in this state has a monitor. */
export function isAlive(state: VmState): boolean {
  return state !== "defined" && state !== "stopped";
}

export interface ExitRecord {
  /**
   * As the machine says it; `error`: it could not be started; `lost`: its monitor was killed, or the host went down; `forced`: it
   * was stopped and did not power off in time, or knows no power button; `killed`.
   */
  readonly reason: Exclude<StopReason, "stopped"> | "error" | "lost" | "forced" | "killed";
  /** As an exit status of `tsvm boot`. */
  readonly status: number;
  /** What went wrong. */
  readonly message?: string;
  readonly hint?: string;
  readonly powerButton?: PowerButton;
  /** Of a lost one, when that was noticed: of its last moment nobody knows. */
  readonly at: number;
}

/** As after SIGKILL. */
export const KILLED_STATUS = 137;

export function lostExit(at: number): ExitRecord {
  const message = "its monitor was killed, or the host went down";
  return { reason: "lost", status: KILLED_STATUS, message, at };
}

/** state.json. Written by the monitor while there is one, else under the VM's lock. */
export interface VmRecord {
  readonly state: VmState;
  /** Since when it is in this state. */
  readonly since: number;
  /** When the machine was last started, and by how many restarts since the user did. */
  readonly startedAt?: number;
  readonly restarts: number;
  /** A user stopped it, so `unless-stopped` does not start it with the host. */
  readonly stoppedByUser: boolean;
  /** How it last ended. */
  readonly exit?: ExitRecord;
  /** The control socket; stays after the end. */
  readonly socket?: string;
  /** The socket of the machine's vsock device, by which its guest is reached; stays as well. */
  readonly vsock?: string;
}

export function isStoredDefinition({ id, definedAt, definition }: StoredDefinition): boolean {
  const machine = definition?.machine as VmDefinition["machine"] | undefined;
  return (
    typeof id === "string" &&
    /^[0-9a-f]{12}$/.test(id) &&
    typeof definedAt === "number" &&
    typeof definition?.name === "string" &&
    typeof machine?.cpus === "number" &&
    typeof machine.memory === "number"
  );
}

export const VM_STATES: readonly string[] = [
  "defined",
  "starting",
  "running",
  "paused",
  "stopping",
  "restarting",
  "stopped",
] satisfies VmState[];

export function isVmRecord({ state, since, restarts, exit }: VmRecord): boolean {
  return (
    VM_STATES.includes(state) &&
    typeof since === "number" &&
    typeof restarts === "number" &&
    (exit === undefined || (typeof exit.reason === "string" && typeof exit.status === "number"))
  );
}
