/** What programs give to a machine, and what they hear of it. */
import type { WindowSize } from "../devices/virtio/console.ts";
import type { ConsoleSource } from "./guest-output.ts";
import type { StopReport } from "./report.ts";

/** What `Machine.boot` takes beside the description of the machine. */
export interface BootOptions {
  /** Of the terminal behind the console; 25 rows of 80 columns by default. */
  windowSize?: WindowSize;
  /** Aborting before the machine is there makes `Machine.boot` reject with the signal's reason; later, it stops the machine. */
  signal?: AbortSignal;
  /** What the console shows when the guest is ready, for `Machine.ready`. */
  readyPattern?: string | RegExp;
}

/** For `Machine.shutdown`. */
export interface ShutdownOptions {
  /** ms that the guest gets to power off by itself; 30 s by default. */
  timeout?: number;
}

/** For `Machine.waitForConsole`. */
export interface WaitOptions {
  /** ms; without end by default. */
  timeout?: number;
  /** Gives up when it is aborted, and rejects with its reason. */
  signal?: AbortSignal;
}

/** `stopping`: the end has begun, and something of the machine is still there. */
export type MachineState = "running" | "paused" | "stopping" | "stopped";

/** Events and the arguments of their listeners. */
export interface MachineEvents {
  /** Bytes of the guest's console: the serial port, or port 0 of the virtio console. */
  console: [bytes: Buffer, source: ConsoleSource];
  /** Bytes that the command wrote to its standard output. */
  stdout: [bytes: Buffer];
  stderr: [bytes: Buffer];
  /** tsvm's init has reported. */
  userland: [];
  /** What the user should know of, while the machine goes on: damage in a disk image. */
  warning: [text: string];
  paused: [];
  resumed: [];
  /** Nothing of the machine is left. */
  stopped: [report: StopReport];
}
