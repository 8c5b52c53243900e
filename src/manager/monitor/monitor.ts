/** One VM in the background: starts its machine, again and again where that is wanted, and keeps record of where it stands. */
import { dirname } from "node:path";
import type { VmDefinition } from "../../definition/definition.ts";
import { VsockListenError } from "../../devices/virtio/vsock/listen.ts";
import type { MachineDescription } from "../../machine/description.ts";
import { Machine } from "../../machine/machine.ts";
import type { StopReport } from "../../machine/report.ts";
import { ManagerError } from "../errors.ts";
import { forwardedPorts } from "../forwarded-ports.ts";
import { withAgent } from "../guest-access.ts";
import { makePrivateDirectory } from "../paths.ts";
import type { MonitorStats, MonitorStatus } from "../protocol.ts";
import type { ExitRecord, VmState } from "../record.ts";
import { DEFAULT_STOP_TIMEOUT_MS } from "../stop-timeout.ts";
import { exitRecord, failureRecord, type StopIntent } from "./exit-record.ts";
import { RecordKeeper, type RecordPlaces } from "./record-keeper.ts";
import type { Controlled } from "./requests.ts";
import { Restarts } from "./restarts.ts";
import { monitorStats } from "./stats.ts";

const SIGTERM = 15;
/** A longer timer of Node's runs out at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface MonitorParts extends RecordPlaces {
  readonly definition: VmDefinition;
  /** Where the vsock device's socket is to be, if the definition does not say. */
  readonly vsockPath: string;
  /** Which of the definitions that the VM has had. */
  readonly definedAt: number;
}

interface StopRequest {
  /** ms; by default the definition's. */
  readonly timeout?: number | undefined;
  /** At once. */
  readonly force: boolean;
  /** Not so where the host goes down. */
  readonly byUser?: boolean;
}

/** What the first start came to. */
export interface Started {
  readonly warnings: readonly string[];
}

export class Monitor implements Controlled {
  readonly #parts: MonitorParts;
  readonly #restarts: Restarts;
  readonly #keeper: RecordKeeper;
  #machine: Machine | undefined;
  #userland = false;
  #intent: StopIntent | undefined;
  #stopTimer: NodeJS.Timeout | undefined;
  #endWait: (() => void) | undefined;

  constructor(parts: MonitorParts) {
    this.#parts = parts;
    this.#restarts = new Restarts(parts.definition.restart);
    this.#keeper = new RecordKeeper(parts);
  }

  /**
   * Runs the VM to its end for good. `started` hears when the machine runs for the first time; an error that keeps it from that is
   * thrown.
   */
  async run(started: (what: Started) => void): Promise<ExitRecord> {
    let exit: ExitRecord;
    for (let first = true; ; first = false) {
      this.#keeper.enter("starting", { startedAt: Date.now(), restarts: this.#restarts.count });
      this.#keeper.tell({ event: "start" });
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
          this.#keeper.tellExit(exit);
          this.#finish(exit);
          throw error;
        }
      } finally {
        this.#machine = undefined;
      }
      this.#keeper.tellExit(exit);
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
    const { state, since, startedAt, restarts, exit } = this.#keeper.record;
    return {
      state,
      since,
      startedAt,
      restarts,
      exit,
      pid: process.pid,
      viewers: this.#parts.console.viewers,
      definedAt: this.#parts.definedAt,
      cpus: this.#parts.definition.machine.cpus,
      memory: this.#parts.definition.machine.memory,
      ports: forwardedPorts(this.#parts.definition.machine),
    };
  }

  stop({ timeout, force, byUser = true }: StopRequest): void {
    const wanted = timeout ?? this.#parts.definition.stopTimeout ?? DEFAULT_STOP_TIMEOUT_MS;
    const limit = Math.min(wanted, LONGEST_TIMER_MS);
    // Only a command that has started can be told.
    const signaled = this.#parts.definition.machine.command !== undefined && this.#userland;
    this.#intent = { force: force || limit === 0, timeout: limit, signaled };
    this.#keeper.change({ stoppedByUser: byUser });
    this.#endWait?.();
    if (this.#machine !== undefined) this.#endMachine(this.#machine, this.#intent);
  }

  async pause(): Promise<void> {
    const machine = this.#runningMachine("running", "paused");
    await machine.pause();
    this.#keeper.enter("paused");
    this.#keeper.tell({ event: "paused" });
  }

  async resume(): Promise<void> {
    const machine = this.#runningMachine("paused", "running");
    await machine.resume();
    this.#keeper.enter("running");
    this.#keeper.tell({ event: "resumed" });
  }

  pressPowerButton(): boolean {
    return this.#machine?.pressPowerButton() ?? false;
  }

  stats(): MonitorStats {
    return monitorStats(this.#parts.definition.machine, this.#machine);
  }

  setBalloon(bytes: number): void {
    if (this.#machine === undefined) {
      const { state } = this.#keeper.record;
      throw new ManagerError("ERR_VM_NOT_RUNNING", `${this.#parts.definition.name} is ${state}, not running`);
    }
    this.#machine.setBalloon(bytes);
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
    this.#keeper.change({ socket });
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
    const machine = await this.#bootMachine({ name: definition.name, ...definition.machine });
    if (machine.vsockPath !== undefined) this.#keeper.change({ vsock: machine.vsockPath });
    this.#machine = machine;
    this.#listen(machine);
    // It may have been asked to stop while it was made.
    if (this.#intent === undefined) {
      this.#keeper.enter("running");
      this.#keeper.tell({ event: "running" });
    } else {
      this.#endMachine(machine, this.#intent);
    }
    return machine;
  }

  /** With a way into the guest; without one where none can be made, unless the definition wants it. */
  async #bootMachine(machine: MachineDescription): Promise<Machine> {
    const { vsockPath, log } = this.#parts;
    try {
      makePrivateDirectory(dirname(vsockPath));
      return await Machine.boot(withAgent(machine, vsockPath));
    } catch (error) {
      const wanted = machine.vsock !== undefined || machine.agent !== undefined;
      if (wanted || !(error instanceof VsockListenError || error instanceof ManagerError)) throw error;
      log.event(`no way into the guest: ${error.message}`);
      return Machine.boot(machine);
    }
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

  #endMachine(machine: Machine, { force, timeout, signaled }: StopIntent): void {
    clearTimeout(this.#stopTimer);
    if (force) {
      void machine.stop();
      return;
    }
    this.#keeper.enter("stopping");
    this.#keeper.tell({ event: "stopping" });
    if (signaled) {
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
    this.#keeper.enter("restarting", { exit });
    this.#keeper.tell({ event: "restarting" });
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
    const { state } = this.#keeper.record;
    const { name } = this.#parts.definition;
    if (this.#machine !== undefined && state === needed) return this.#machine;
    const message = state === wanted ? `${name} is ${wanted} already` : `${name} is ${state}, not ${needed}`;
    throw new ManagerError("ERR_VM_NOT_RUNNING", message);
  }

  #finish(exit: ExitRecord): void {
    if (this.#keeper.record.state === "stopped") return;
    this.#keeper.enter("stopped", { exit });
  }
}
