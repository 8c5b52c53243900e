/** How a machine ended, and what it used. */
import { TsvmError } from "../errors.ts";
import type { ExitCounts } from "./control.ts";
import type { CommandExit } from "./guest-init.ts";
import type { MachineStats } from "./stats.ts";

/** Why a machine is no more. */
export type StopReason =
  /** The command (or shell) in the guest ended; see `command`. */
  | "command"
  /** The guest reset itself: how Linux without ACPI powers off with `reboot=k`. */
  | "reset"
  /** All processors halted with interrupts off. */
  | "halt"
  /** The guest powered off. */
  | "shutdown"
  | "triple-fault"
  /** The kernel panicked; see `panic`. */
  | "panic"
  /** The guest did what cannot be carried out, or tsvm failed; see `error`. */
  | "crash"
  /** `Machine.stop` was called, the boot's AbortSignal fired, or `Machine.shutdown` was called in vain. */
  | "stopped";

/**
 * How the guest took its power button: nobody pressed it; the guest does not know of it (no ACPI, or not that far yet); it never
 * took notice; it did.
 */
export type PowerButton = "unused" | "unknown" | "ignored" | "noticed";

/** Moments in ms of the monotonic clock; undefined where one was not reached. */
export interface Timeline {
  readonly start: number;
  /** All is in guest memory, and the threads are about to be told. */
  readonly loaded: number;
  readonly firstEntry: number | undefined;
  readonly firstExit: number | undefined;
  readonly firstConsoleByte: number | undefined;
  /** tsvm's init reported. */
  readonly userland: number | undefined;
  readonly stopped: number;
}

/** How a machine ended, and what it used. */
export interface StopReport {
  readonly reason: StopReason;
  /** How the command in the guest ended, where it did. */
  readonly command: CommandExit | undefined;
  /** The line with which the kernel gave up. */
  readonly panic: string | undefined;
  readonly powerButton: PowerButton;
  readonly error: TsvmError | undefined;
  readonly timeline: Timeline;
  readonly exits: ExitCounts;
  /** What the machine had used at its end. */
  readonly stats: MachineStats;
}

/** An error of one of the machine's threads. */
export class MachineError extends TsvmError {
  override name = "MachineError";
}
