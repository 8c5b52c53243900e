/**
 * One running machine, seen from the main thread: starts its threads, carries bytes to and from the guest, notices why it
 * ends, and takes everything down in the right order.
 */
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import type { AcpiPower } from "../devices/acpi-power.ts";
import { vcpuLimit } from "../kvm/limits.ts";
import { Kvm } from "../kvm/kvm.ts";
import type { BootEntry } from "../disk/boot-entry/boot-entry.ts";
import type { WindowSize } from "../devices/virtio/console.ts";
import { TsvmError } from "../errors.ts";
import { assemble, type Assembly } from "./assemble.ts";
import { Cleanup } from "./cleanup.ts";
import { monotonicNow } from "./clock.ts";
import { VcpuCommand, VcpuState, type ExitCounts } from "./control.ts";
import { validateDescription, type MachineDescription } from "./description.ts";
import { acpiPowerOf } from "./devices.ts";
import { ring } from "./doorbell.ts";
import { GuestSession } from "./guest-session.ts";
import { GuestProtocolError, type CommandExit } from "./guest-init.ts";
import { kick } from "./kick.ts";
import type { WorkerPipe } from "./pipe.ts";
import { PanicWatcher } from "./panic.ts";
import type { WorkerError, WorkerMessage, WorkerTask } from "./plan.ts";
import { resolveMachine, type ResolvedMachine } from "./resolve.ts";
import { runTask } from "./worker-pool.ts";

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
  /** {@link Machine.stop} was called, or {@link Machine.shutdown} in vain. */
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

export interface StopReport {
  readonly reason: StopReason;
  readonly command: CommandExit | undefined;
  readonly panic: string | undefined;
  readonly powerButton: PowerButton;
  readonly error: TsvmError | undefined;
  readonly timeline: Timeline;
  readonly exits: ExitCounts;
}

/** An error of one of the machine's threads. */
export class MachineError extends TsvmError {
  override name = "MachineError";
}

export interface MachineEvents {
  /** Bytes of the guest's console: the serial port, or port 0 of the virtio console. */
  console: [bytes: Buffer, source: "serial" | "virtio"];
  stdout: [bytes: Buffer];
  stderr: [bytes: Buffer];
  userland: [];
  /** What the user should know of, while the machine goes on: damage in a disk image. */
  warning: [text: string];
}

export interface BootOptions {
  windowSize?: WindowSize;
}

export interface ShutdownOptions {
  /** ms that the guest gets to power off by itself; 30 s by default. */
  timeout?: number;
}

const SHUTDOWN_TIMEOUT_MS = 30_000;
const DEFAULT_WINDOW: WindowSize = { rows: 25, columns: 80 };
/** Between the boot processor's first instruction and the start of the other threads. */
const OTHERS_DELAY_MS = 2;
const PROBE_INTERVAL_MS = 50;
const LONGEST_PROBE_INTERVAL_MS = 1000;

/**
 * @example
 * const machine = await Machine.boot({ cpus: 1, memory: 64 * 2 ** 20, command: { argv: ["uname", "-a"] } });
 * machine.on("stdout", (bytes) => process.stdout.write(bytes));
 * const { command } = await machine.stopped;
 */
export class Machine extends EventEmitter<MachineEvents> {
  /** Resolves when nothing of the machine is left, whatever the reason; never rejects. */
  readonly stopped: Promise<StopReport>;
  /** The kernel command line. */
  readonly commandLine: string;
  /** What is odd about the disks, without being an error. */
  readonly warnings: readonly string[];
  /** What the first disk's boot configuration said, where the kernel comes from there. */
  readonly bootEntry: BootEntry | undefined;
  readonly #assembly: Assembly;
  readonly #cleanup: Cleanup;
  readonly #session: GuestSession | undefined;
  readonly #acpiPower: AcpiPower | undefined;
  readonly #panics = [new PanicWatcher(), new PanicWatcher()] as const;
  readonly #running = new Set<WorkerTask>();
  readonly #start: number;
  readonly #loaded: number;
  #firstConsoleByte: number | undefined;
  #userland: number | undefined;
  #reason: StopReason | undefined;
  #command: CommandExit | undefined;
  #error: TsvmError | undefined;
  #shutdownTimer: NodeJS.Timeout | undefined;
  #powerButtonPressed = false;
  #probeTimer: NodeJS.Timeout | undefined;
  #othersTimer: NodeJS.Timeout | undefined;
  #resolveStopped!: (report: StopReport) => void;
  #takenDown = false;
  #cleanedUp = false;

  private constructor(assembly: Assembly, resolved: ResolvedMachine, cleanup: Cleanup, start: number) {
    super();
    this.#assembly = assembly;
    this.#cleanup = cleanup;
    this.#start = start;
    this.commandLine = assembly.commandLine;
    this.warnings = assembly.warnings;
    this.bootEntry = typeof resolved.kernel === "string" ? undefined : resolved.kernel.entry;
    const guestOnly = (): void => undefined;
    this.#acpiPower = acpiPowerOf(assembly.plan, { powerOff: guestOnly, reset: guestOnly });
    this.stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
    this.#loaded = monotonicNow();
    // The guest first: all else is done while it starts.
    this.#launch();
    const control = assembly.pipes.virtio?.controlInput;
    this.#session = control === undefined ? undefined : this.#openSession(control.stream());
    this.#listen();
    if (resolved.run !== undefined) this.#session?.run(resolved.run);
    this.#scheduleProbe(PROBE_INTERVAL_MS);
  }

  /** Makes the machine and starts it. Throws a TsvmError, with nothing left behind, where that cannot be done. */
  static async boot(description: MachineDescription, options: BootOptions = {}): Promise<Machine> {
    const start = monotonicNow();
    const cleanup = new Cleanup();
    try {
      const kvm = Kvm.open();
      cleanup.add(() => kvm.close());
      validateDescription(description, vcpuLimit(kvm));
      const resolved = await resolveMachine(description);
      const assembly = assemble(resolved, kvm, options.windowSize ?? DEFAULT_WINDOW, cleanup);
      const machine = new Machine(assembly, resolved, cleanup, start);
      live.add(machine);
      return machine;
    } catch (error) {
      cleanup.run();
      throw error;
    }
  }

  /** Types on the guest's console. False when the guest takes it slower than it comes: see {@link onceConsoleDrained}. */
  writeConsole(bytes: Uint8Array): boolean {
    if (this.#takenDown) return true;
    return this.#consoleInput().write(bytes);
  }

  /** What was typed on the console has gone to the guest. */
  onceConsoleDrained(listener: () => void): void {
    if (!this.#takenDown) this.#consoleInput().once("drain", listener);
  }

  /** Tells the guest how large the terminal behind its console is. */
  resizeConsole(size: WindowSize): void {
    if (this.#takenDown) return;
    this.#assembly.control.windowSize = size;
    ring(this.#assembly.plan.ioControlFd);
  }

  /** Standard input of the command. False when the guest takes it slower than it comes: wait for {@link onceStdinDrained}. */
  writeStdin(bytes: Uint8Array): boolean {
    if (this.#takenDown) return true;
    return this.#session?.writeStdin(bytes) ?? true;
  }

  /** What the guest is to be sent has gone. */
  onceStdinDrained(listener: () => void): void {
    if (!this.#takenDown) this.#assembly.pipes.virtio?.controlInput.stream().once("drain", listener);
  }

  endStdin(): void {
    if (!this.#takenDown) this.#session?.endStdin();
  }

  /** Sends a signal to the command in the guest. */
  signalCommand(signal: number): void {
    if (!this.#takenDown) this.#session?.signal(signal);
  }

  /** Holds back output of the guest, which then waits; for consumers that are slower than the guest. */
  pauseOutput(): void {
    if (!this.#takenDown) for (const stream of this.#outputs()) stream.pause();
  }

  resumeOutput(): void {
    if (this.#cleanedUp) return;
    for (const stream of this.#outputs()) stream.resume();
  }

  /** Exits to user space so far. */
  get exits(): ExitCounts {
    return this.#assembly.control.exits;
  }

  /**
   * Interrupts all processors briefly. Where each was before is in {@link instructionPointers} about 0.1 ms later.
   * A profiler calls this often.
   */
  probe(): void {
    this.#interrupt(VcpuCommand.Probe);
  }

  /** The instruction pointer of each processor at its last probe. */
  get instructionPointers(): bigint[] {
    const { control, vcpus } = this.#assembly;
    return vcpus.map(({ index }) => control.vcpu(index).rip);
  }

  /** Ends the machine at once, as if its power was cut. Resolves when nothing of it is left. */
  async stop(): Promise<StopReport> {
    this.#end("stopped");
    return this.stopped;
  }

  /**
   * Presses the power button, at which most systems shut down in good order, and ends the machine as {@link stop} does if it is
   * still there after the time limit. A guest that knows of no power button (no ACPI) is ended at once.
   */
  async shutdown({ timeout = SHUTDOWN_TIMEOUT_MS }: ShutdownOptions = {}): Promise<StopReport> {
    if (!this.pressPowerButton()) return this.stop();
    clearTimeout(this.#shutdownTimer);
    this.#shutdownTimer = setTimeout(() => this.#end("stopped"), timeout);
    return this.stopped;
  }

  /** Presses the power button. False if the guest does not know of it: it has no ACPI, or has not come that far. */
  pressPowerButton(): boolean {
    if (this.#takenDown) return true;
    this.#powerButtonPressed = true;
    if (!this.knowsPowerButton) return false;
    this.#acpiPower?.pressPowerButton();
    return true;
  }

  /** Whether the guest reads ACPI tables, which tell of a power button. */
  get knowsPowerButton(): boolean {
    return this.#acpiPower?.ospmPresent ?? false;
  }

  /** Gets all threads out of the guest without waiting for anything; for the end of the process. */
  abandon(): void {
    if (this.#takenDown) return;
    this.#interrupt(VcpuCommand.Stop);
    this.#stopIo();
    // Whoever waits for room in the serial port's pipe finds it broken instead.
    this.#assembly.pipes.serialOutput.breakMainEnd();
  }

  /**
   * The boot processor first and alone: on a small host more threads that start at the same time would only slow it down.
   * Nobody needs the others before it has run for a while, and a tiny guest may never need them.
   */
  #launch(): void {
    const { plan, vcpus } = this.#assembly;
    this.#runTask({ role: "vcpu", machine: plan, vcpu: vcpus[0]! });
  }

  #launchOthers(): void {
    const { plan, vcpus } = this.#assembly;
    try {
      this.#runTask({ role: "io", machine: plan });
      for (const vcpu of vcpus.slice(1)) this.#runTask({ role: "vcpu", machine: plan, vcpu });
    } catch (error) {
      this.#fail(
        new MachineError("ERR_INTERNAL", "a thread of the machine cannot be started", { cause: error }),
      );
    }
  }

  #runTask(task: WorkerTask): void {
    runTask(
      task,
      (message) => this.#onMessage(task, message),
      (error) => {
        this.#fail(
          new MachineError("ERR_INTERNAL", `a thread of the machine died: ${error.message}`, {
            cause: error,
          }),
        );
        this.#finished(task);
      },
    );
    // Only now: a thread that could not be started is none to wait for.
    this.#running.add(task);
  }

  #onMessage(task: WorkerTask, message: WorkerMessage): void {
    switch (message.type) {
      case "running":
        if (task.role === "vcpu" && task.vcpu.index === 0 && this.#reason === undefined) {
          this.#othersTimer = setTimeout(() => this.#launchOthers(), OTHERS_DELAY_MS);
        }
        return;
      case "warning":
        this.emit("warning", message.text);
        return;
      case "guest-stop":
        this.#end(message.stop.kind);
        return;
      case "failed":
        this.#fail(revive(message.error));
        return;
      case "finished":
        this.#finished(task);
    }
  }

  /** Calls all processors out of the guest with something to do. */
  #interrupt(command: number): void {
    const { control, vcpus } = this.#assembly;
    for (const { index } of vcpus) {
      const vcpu = control.vcpu(index);
      vcpu.request(command);
      if (vcpu.tid !== 0) kick(vcpu.tid);
    }
  }

  #stopIo(): void {
    this.#assembly.control.requestIoStop();
    ring(this.#assembly.plan.ioControlFd);
  }

  #fail(error: TsvmError): void {
    this.#error ??= error;
    this.#end("crash");
  }

  #finished(task: WorkerTask): void {
    this.#running.delete(task);
    if (this.#reason === undefined)
      this.#fail(new MachineError("ERR_INTERNAL", "a thread of the machine ended early"));
    const vcpusLeft = [...this.#running].some(({ role }) => role === "vcpu");
    // The I/O thread goes last: what the guest has written up to its end still comes out.
    if (!vcpusLeft) this.#stopIo();
    if (this.#running.size === 0) void this.#takeDown();
  }

  #end(reason: StopReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    clearTimeout(this.#probeTimer);
    clearTimeout(this.#shutdownTimer);
    clearTimeout(this.#othersTimer);
    this.#interrupt(VcpuCommand.Stop);
    // A vCPU that waits for room in a full pipe must get it.
    this.resumeOutput();
  }

  async #takeDown(): Promise<void> {
    if (this.#takenDown) return;
    this.#takenDown = true;
    for (const pipe of this.#outputPipes()) pipe.closeWorkerEnd();
    this.resumeOutput();
    await Promise.all(this.#outputs().map(streamEnd));
    const exits = this.exits;
    const timeline = this.#timeline();
    this.#cleanedUp = true;
    this.#cleanup.run();
    live.delete(this);
    const panic = this.#panics.map((watcher) => watcher.panic).find((line) => line !== undefined);
    this.#resolveStopped({
      reason: this.#finalReason(panic),
      command: this.#command,
      panic,
      powerButton: this.#powerButton(),
      error: this.#error,
      timeline,
      exits,
    });
  }

  #finalReason(panic: string | undefined): StopReason {
    const reason = this.#reason!;
    // init says how the command ended and then resets: a processor's word may be here before what is in the pipe.
    if (this.#command !== undefined && (reason === "reset" || reason === "shutdown")) return "command";
    return panic !== undefined && reason !== "command" ? "panic" : reason;
  }

  #powerButton(): PowerButton {
    if (!this.#powerButtonPressed) return "unused";
    if (!this.knowsPowerButton) return "unknown";
    return this.#acpiPower?.powerButtonPending ? "ignored" : "noticed";
  }

  #timeline(): Timeline {
    const { firstEntry, firstExit } = this.#assembly.control;
    return {
      start: this.#start,
      loaded: this.#loaded,
      firstEntry: firstEntry === 0 ? undefined : firstEntry,
      firstExit: firstExit === 0 ? undefined : firstExit,
      firstConsoleByte: this.#firstConsoleByte,
      userland: this.#userland,
      stopped: monotonicNow(),
    };
  }

  #openSession(input: Socket): GuestSession {
    return new GuestSession(input, {
      hello: () => {
        if (this.#userland !== undefined) return;
        this.#userland = monotonicNow();
        this.emit("userland");
      },
      stdout: (bytes) => this.emit("stdout", bytes),
      stderr: (bytes) => this.emit("stderr", bytes),
      exit: (exit) => {
        this.#command = exit;
        this.#end("command");
      },
    });
  }

  #consoleInput(): Socket {
    const { virtio, serialInput } = this.#assembly.pipes;
    return (virtio?.input ?? serialInput).stream();
  }

  #outputPipes(): WorkerPipe[] {
    const { serialOutput, virtio } = this.#assembly.pipes;
    return virtio === undefined ? [serialOutput] : [serialOutput, virtio.output, virtio.controlOutput];
  }

  #outputs(): Socket[] {
    return this.#outputPipes().map((pipe) => pipe.stream());
  }

  #listen(): void {
    const { serialOutput, virtio } = this.#assembly.pipes;
    const onConsole =
      (source: "serial" | "virtio", watcher: PanicWatcher) =>
      (bytes: Buffer): void => {
        this.#firstConsoleByte ??= monotonicNow();
        watcher.push(bytes);
        this.emit("console", bytes, source);
      };
    serialOutput.stream().on("data", onConsole("serial", this.#panics[0]));
    virtio?.output.stream().on("data", onConsole("virtio", this.#panics[1]));
    virtio?.controlOutput.stream().on("data", (bytes: Buffer) => {
      try {
        this.#session?.receive(bytes);
      } catch (error) {
        // Anything else comes from a listener of the program, and is its own.
        if (!(error instanceof GuestProtocolError)) throw error;
        this.#fail(error);
      }
    });
  }

  /**
   * A processor in HLT with interrupts off never leaves the kernel by itself: look at all of them now and then. Two rounds in
   * a row must agree, because a processor may wake another between two looks of one round.
   */
  #scheduleProbe(interval: number, haltedBefore = false): void {
    this.#probeTimer = setTimeout(() => {
      const { control, vcpus } = this.#assembly;
      const all = vcpus.map(({ index }) => control.vcpu(index));
      const halted = all.every((vcpu) => vcpu.state === VcpuState.HaltedForGood);
      if (halted && haltedBefore) {
        this.#end("halt");
        return;
      }
      this.probe();
      this.#scheduleProbe(
        halted ? PROBE_INTERVAL_MS : Math.min(interval * 1.5, LONGEST_PROBE_INTERVAL_MS),
        halted,
      );
    }, interval);
    this.#probeTimer.unref();
  }
}

const live = new Set<Machine>();
// Node joins its threads at exit, and a thread inside KVM_RUN would keep it waiting for ever.
process.on("exit", () => {
  for (const machine of live) machine.abandon();
});

function streamEnd(stream: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (stream.readableEnded || stream.destroyed) resolve();
    else {
      stream.once("close", resolve);
      stream.once("end", resolve);
    }
  });
}

function revive({ code, message, hint, stack }: WorkerError): MachineError {
  const error = new MachineError(code, message, { hint });
  if (stack !== undefined) error.stack = stack;
  return error;
}
