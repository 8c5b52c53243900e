/** One VM in the background: starts its machine, again and again where that is wanted, and keeps record of where it stands. */
import type { VmDefinition } from "../../definition/definition.ts";
import { Machine } from "../../machine/machine.ts";
import type { StopReport } from "../../machine/report.ts";
import { ManagerError } from "../errors.ts";
import { appendEvent, type VmEvent } from "../events.ts";
import type { LogWriter } from "../log/log-writer.ts";
import type { MonitorStats, MonitorStatus } from "../protocol.ts";
import type { ExitRecord, VmRecord, VmState } from "../record.ts";
import type { Vm } from "../vm.ts";
import type { ConsoleHub } from "./console-hub.ts";
import { exitRecord, failureRecord, type StopIntent } from "./exit-record.ts";
import type { Controlled } from "./requests.ts";
import { Restarts } from "./restarts.ts";
import { monitorStats } from "./stats.ts";

export const DEFAULT_STOP_TIMEOUT_MS = 30_000;
const SIGTERM = 15;

export interface MonitorParts {
  readonly vm: Vm;
  /** The state directory. */
  readonly state: string;
  readonly definition: VmDefinition;
  readonly log: LogWriter;
  readonly console: ConsoleHub;
}

/** What the first start came to. */
export interface Started {
  readonly warnings: readonly string[];
}

export class Monitor implements Controlled {
  readonly #parts: MonitorParts;
  readonly #restarts: Restarts;
  #record: VmRecord;
  #machine: Machine | undefined;
  #userland = false;
  #intent: StopIntent | undefined;
  #stopTimer: NodeJS.Timeout | undefined;
  #endWait: (() => void) | undefined;

  constructor(parts: MonitorParts) {
    this.#parts = parts;
    this.#restarts = new Restarts(parts.definition.restart);
    this.#record = { state: "starting", since: Date.now(), restarts: 0, stoppedByUser: false };
  }

  /**
   * Runs the VM to its end for good. `started` hears when the machine runs for the first time; an error that keeps it from that is
   * thrown.
   */
  async run(started: (what: Started) => void): Promise<ExitRecord> {
    let exit: ExitRecord;
    for (let first = true; ; first = false) {
      this.#enter("starting", { startedAt: Date.now(), restarts: this.#restarts.count });
      this.#tell({ event: "start" });
      const start = performance.now();
      let reboots = false;
      try {
        const machine = await this.#boot();
        if (first) started({ warnings: machine.warnings });
        const report = await machine.stopped;
        // Who has read the ACPI tables powers off by them, so a reset is meant to boot again.
        reboots = report.reason === "reset" && machine.knowsPowerButton && this.#intent === undefined;
        exit = this.#ended(report);
      } catch (error) {
        exit = failureRecord(error);
        if (first) {
          this.#finish(exit);
          throw error;
        }
      } finally {
        this.#machine = undefined;
      }
      this.#tell({ event: "exit", reason: exit.reason, status: exit.status, ...messageOf(exit) });
      const ranFor = performance.now() - start;
      const delay =
        this.#intent !== undefined
          ? undefined
          : reboots
            ? this.#restarts.reboot(ranFor)
            : this.#restarts.next(exit, ranFor);
      if (delay === undefined || !(await this.#waitToRestart(delay, exit))) break;
    }
    this.#finish(exit);
    return exit;
  }

  status(): MonitorStatus {
    const { state, since, startedAt, restarts, exit } = this.#record;
    return {
      state,
      since,
      startedAt,
      restarts,
      exit,
      pid: process.pid,
      viewers: this.#parts.console.viewers,
    };
  }

  stop({
    timeout,
    force,
    byUser = true,
  }: {
    timeout?: number | undefined;
    force: boolean;
    byUser?: boolean;
  }): void {
    const limit = timeout ?? this.#parts.definition.stopTimeout ?? DEFAULT_STOP_TIMEOUT_MS;
    this.#intent = { force: force || limit === 0, timeout: limit };
    this.#record = { ...this.#record, stoppedByUser: byUser };
    this.#endWait?.();
    if (this.#machine !== undefined) this.#endMachine(this.#machine, this.#intent);
  }

  async pause(): Promise<void> {
    const machine = this.#runningMachine("running", "paused");
    await machine.pause();
    this.#enter("paused");
    this.#tell({ event: "paused" });
  }

  async resume(): Promise<void> {
    const machine = this.#runningMachine("paused", "running");
    await machine.resume();
    this.#enter("running");
    this.#tell({ event: "resumed" });
  }

  pressPowerButton(): boolean {
    return this.#machine?.pressPowerButton() ?? false;
  }

  stats(): MonitorStats {
    return monitorStats(this.#parts.definition.machine, this.#machine);
  }

  type(bytes: Buffer, drained: () => void): boolean {
    const machine = this.#machine;
    if (machine === undefined) return true;
    const room = this.#hasPlainCommand ? machine.writeStdin(bytes) : machine.writeConsole(bytes);
    if (room) return true;
    // When the machine ends before it has taken what it was sent, nobody need wait any longer either.
    let called = false;
    const once = (): void => {
      if (!called) drained();
      called = true;
    };
    if (this.#hasPlainCommand) machine.onceStdinDrained(once);
    else machine.onceConsoleDrained(once);
    void machine.stopped.then(once);
    return false;
  }

  resize(rows: number, columns: number): void {
    this.#machine?.resizeConsole({ rows, columns });
  }

  /** Where the control socket is, from now on. */
  listensOn(socket: string): void {
    this.#record = { ...this.#record, socket };
    this.#save();
  }

  /** A failure of ours: the machine, if there is one, must not go on without a monitor. */
  fail(error: unknown): void {
    this.#finish(failureRecord(error));
    this.#machine?.abandon();
  }

  /** The guest runs a command whose streams are not the console. */
  get #hasPlainCommand(): boolean {
    const { command } = this.#parts.definition.machine;
    return command !== undefined && command.terminal !== true;
  }

  async #boot(): Promise<Machine> {
    const { definition } = this.#parts;
    this.#userland = false;
    const machine = await Machine.boot({ name: definition.name, ...definition.machine });
    this.#machine = machine;
    this.#listen(machine);
    // It may have been asked to stop while it was made.
    if (this.#intent === undefined) {
      this.#enter("running");
      this.#tell({ event: "running" });
    } else {
      this.#endMachine(machine, this.#intent);
    }
    return machine;
  }

  #listen(machine: Machine): void {
    const { log, console: hub, definition } = this.#parts;
    const commandHasTerminal = definition.machine.command?.terminal === true;
    machine.on("console", (bytes, source) => {
      log.push("console", bytes);
      // As tsvm boot shows it: a command's screen is its own.
      if (!this.#hasPlainCommand && (!commandHasTerminal || source === "virtio")) hub.show(bytes);
    });
    for (const stream of ["stdout", "stderr"] as const) {
      machine.on(stream, (bytes) => {
        log.push(stream, bytes);
        hub.show(bytes);
      });
    }
    machine.once("userland", () => {
      this.#userland = true;
    });
  }

  #endMachine(machine: Machine, { force, timeout }: StopIntent): void {
    clearTimeout(this.#stopTimer);
    if (force) {
      void machine.stop();
      return;
    }
    this.#enter("stopping");
    this.#tell({ event: "stopping" });
    if (this.#parts.definition.machine.command !== undefined && this.#userland) {
      // One that stands still would not hear of it.
      void machine.resume().catch(() => undefined);
      machine.signalCommand(SIGTERM);
      this.#stopTimer = setTimeout(() => void machine.stop(), timeout);
    } else {
      void machine.shutdown({ timeout });
    }
  }

  #ended(report: StopReport): ExitRecord {
    clearTimeout(this.#stopTimer);
    const commandMode = this.#parts.definition.machine.command !== undefined;
    return exitRecord(report, commandMode, this.#intent);
  }

  /** Waits before the next start; false if the VM is to stop instead. */
  async #waitToRestart(ms: number, exit: ExitRecord): Promise<boolean> {
    this.#enter("restarting", { exit });
    this.#tell({ event: "restarting" });
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#endWait = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
    this.#endWait = undefined;
    return this.#intent === undefined;
  }

  #runningMachine(needed: VmState, wanted: VmState): Machine {
    const { state } = this.#record;
    const { name } = this.#parts.definition;
    if (this.#machine !== undefined && state === needed) return this.#machine;
    const message = state === wanted ? `${name} is ${wanted} already` : `${name} is ${state}, not ${needed}`;
    throw new ManagerError("ERR_VM_NOT_RUNNING", message);
  }

  #finish(exit: ExitRecord): void {
    if (this.#record.state === "stopped") return;
    this.#enter("stopped", { exit });
  }

  #enter(state: VmState, more: Partial<VmRecord> = {}): void {
    this.#record = { ...this.#record, ...more, state, since: Date.now() };
    this.#save();
    this.#parts.console.tell(
      state,
      state === "stopped" || state === "restarting" ? this.#record.exit : undefined,
    );
  }

  /** A disk that is full must not end a VM: whoever asks the monitor hears the truth in any case. */
  #save(): void {
    try {
      this.#parts.vm.writeRecord(this.#record);
    } catch (error) {
      this.#parts.log.event(error instanceof Error ? error.message : String(error));
    }
  }

  #tell(event: Omit<VmEvent, "time" | "vm">): void {
    const { state, vm, log } = this.#parts;
    appendEvent(state, { vm: vm.name, ...event });
    log.event(eventText(event));
  }
}

function messageOf({ message }: ExitRecord): { message?: string } {
  return message === undefined ? {} : { message };
}

function eventText({ event, reason, status, message }: Omit<VmEvent, "time" | "vm">): string {
  if (event !== "exit") return event;
  return `exit: ${reason}, status ${status}${message === undefined ? "" : `: ${message}`}`;
}
