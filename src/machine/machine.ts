/**
 * One running machine, seen from the main thread: its life from boot to the report of how it ended. The parts that do the work are
 * beside this file: threads, output, input, streams.
 */
import { EventEmitter } from "node:events";
import type { Duplex, Readable, Writable } from "node:stream";
import type { WindowSize } from "../devices/virtio/console.ts";
import type { BootEntry } from "../disk/boot-entry/boot-entry.ts";
import type { TsvmError } from "../errors.ts";
import { Kvm } from "../kvm/kvm.ts";
import { vcpuLimit } from "../kvm/limits.ts";
import { assemble, type Assembly } from "./assemble.ts";
import { bootTurn } from "./boot-turn.ts";
import { Cleanup } from "./cleanup.ts";
import { monotonicNow } from "./clock.ts";
import { ConsoleSearch } from "./console-search.ts";
import { VcpuCommand, type ExitCounts } from "./control.ts";
import { Deferred } from "./deferred.ts";
import { validateDescription, type MachineDescription } from "./description.ts";
import { MachineEndedError, MachineStateError, MachineTimeoutError } from "./errors.ts";
import { GuestInput } from "./guest-input.ts";
import { GuestOutput, type ConsoleSource } from "./guest-output.ts";
import { GuestProtocolError, type CommandExit } from "./guest-init.ts";
import { GuestSession } from "./guest-session.ts";
import { GuestStreams } from "./guest-streams.ts";
import { HaltWatch } from "./halt-watch.ts";
import { KeepAlive } from "./keep-alive.ts";
import { addLiveMachine, removeLiveMachine } from "./live-machines.ts";
import type {
  BootOptions,
  MachineEvents,
  MachineState,
  ShutdownOptions,
  WaitOptions,
} from "./machine-types.ts";
import { PanicWatcher } from "./panic.ts";
import { GuestPowerButton } from "./power-button.ts";
import type { StopReason, StopReport, Timeline } from "./report.ts";
import { resolveMachine, type ResolvedMachine } from "./resolve.ts";
import { machineStats, type MachineStats } from "./stats.ts";
import { MachineThreads } from "./threads.ts";

const SHUTDOWN_TIMEOUT_MS = 30_000;
const DEFAULT_WINDOW: WindowSize = { rows: 25, columns: 80 };

/**
 * A virtual machine.
 *
 * By itself it does not keep the program alive. It does while somebody waits for it: for a promise of its ({@link stopped},
 * {@link ready}, {@link waitForConsole}, {@link stop}, …) or for one of its streams. See also {@link ref} and {@link unref}.
 *
 * @example
 * ```ts
 * const machine = await Machine.boot({ cpus: 1, memory: 64 * 2 ** 20, command: { argv: ["uname", "-a"] } });
 * machine.stdout.pipe(process.stdout);
 * const { command } = await machine.stopped;
 * ```
 */
export class Machine extends EventEmitter<MachineEvents> implements AsyncDisposable {
  /** The kernel command line. */
  readonly commandLine: string;
  /** What is odd about the disks, without being an error. */
  readonly warnings: readonly string[];
  /** What the first disk's boot configuration said, where the kernel comes from there. */
  readonly bootEntry: BootEntry | undefined;
  readonly #assembly: Assembly;
  readonly #cleanup: Cleanup;
  readonly #threads: MachineThreads;
  readonly #haltWatch: HaltWatch;
  readonly #keepAlive = new KeepAlive();
  readonly #output: GuestOutput;
  readonly #input: GuestInput;
  readonly #streams: GuestStreams;
  readonly #powerButton: GuestPowerButton;
  readonly #panics = { serial: new PanicWatcher(), virtio: new PanicWatcher() };
  readonly #searches = { serial: new ConsoleSearch(), virtio: new ConsoleSearch() };
  readonly #stopped = new Deferred<StopReport>();
  readonly #ready = new Deferred<void>();
  readonly #readyWhen: "pattern" | "userland" | "console";
  readonly #loaded: number;
  readonly #start: number;
  #waitedStopped: Promise<StopReport> | undefined;
  #waitedReady: Promise<void> | undefined;
  #firstConsoleByte: number | undefined;
  #userland: number | undefined;
  #reason: StopReason | undefined;
  #command: CommandExit | undefined;
  #error: TsvmError | undefined;
  #shutdownTimer: NodeJS.Timeout | undefined;
  /** From the request to pause on. */
  #pausing: Promise<void> | undefined;
  #paused = false;
  #takenDown = false;
  #stats: MachineStats | undefined;
  #report: StopReport | undefined;

  private constructor(
    assembly: Assembly,
    resolved: ResolvedMachine,
    cleanup: Cleanup,
    { start, readyPattern }: { start: number; readyPattern: string | RegExp | undefined },
  ) {
    super();
    this.#assembly = assembly;
    this.#cleanup = cleanup;
    this.#start = start;
    this.commandLine = assembly.commandLine;
    this.warnings = assembly.warnings;
    this.bootEntry = typeof resolved.kernel === "string" ? undefined : resolved.kernel.entry;
    this.#threads = new MachineThreads(assembly, {
      guestStop: (kind) => this.#end(kind),
      failed: (error) => this.#fail(error),
      ended: () => void this.#takeDown(),
    });
    this.#loaded = monotonicNow();
    // The guest first: all else is done while it starts.
    this.#threads.start();
    addLiveMachine(this);
    const control = assembly.pipes.virtio?.controlInput;
    const session = control === undefined ? undefined : this.#openSession(control.stream());
    this.#input = new GuestInput(assembly, session, () => this.#threads.startIo());
    this.#output = new GuestOutput(assembly.pipes, {
      console: (bytes, source) => this.#onConsole(bytes, source),
      control: (bytes) => this.#onControl(session, bytes),
    });
    this.#streams = new GuestStreams(this.#output, this.#keepAlive, {
      console: (bytes, done) => void this.#input.writeConsole(bytes, done),
      stdin: (bytes, done) => void this.#input.writeStdin(bytes, done),
      endStdin: () => this.#input.endStdin(),
    });
    if (resolved.run !== undefined) session?.run(resolved.run);
    this.#powerButton = new GuestPowerButton(assembly.plan);
    this.#haltWatch = new HaltWatch(
      assembly.control,
      () => this.probe(),
      () => this.#end("halt"),
    );
    this.#haltWatch.start();
    if (readyPattern !== undefined) this.#searchConsole(readyPattern, () => this.#ready.resolve());
    this.#readyWhen = readyPattern !== undefined ? "pattern" : session !== undefined ? "userland" : "console";
  }

  /**
   * Makes the machine and starts it.
   *
   * @throws TsvmError, with nothing left behind, where that cannot be done; the reason of `options.signal` if that is aborted.
   * @example
   * ```ts
   * await using machine = await Machine.boot(
   *   { cpus: 1, memory: 64 * 2 ** 20, command: { argv: ["sleep", "60"] } },
   *   { signal: AbortSignal.timeout(10_000) },
   * );
   * const { reason } = await machine.stopped; // "stopped": the time was over
   * ```
   */
  static async boot(description: MachineDescription, options: BootOptions = {}): Promise<Machine> {
    const start = monotonicNow();
    const { signal, readyPattern, windowSize = DEFAULT_WINDOW } = options;
    signal?.throwIfAborted();
    await bootTurn();
    const cleanup = new Cleanup();
    try {
      const kvm = Kvm.open();
      cleanup.add(() => kvm.close());
      validateDescription(description, vcpuLimit(kvm));
      const resolved = await resolveMachine(description);
      signal?.throwIfAborted();
      const assembly = assemble(resolved, kvm, windowSize, cleanup);
      await assembly.memoryInPlace;
      signal?.throwIfAborted();
      const machine = new Machine(assembly, resolved, cleanup, { start, readyPattern });
      if (signal !== undefined) machine.#obey(signal);
      return machine;
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  /** `stopping` from the moment that the end is certain, `stopped` when {@link stopped} resolves. */
  get state(): MachineState {
    if (this.#report !== undefined) return "stopped";
    if (this.#reason !== undefined) return "stopping";
    return this.#paused ? "paused" : "running";
  }

  /** Resolves when nothing of the machine is left, whatever the reason; never rejects. */
  get stopped(): Promise<StopReport> {
    return (this.#waitedStopped ??= this.#keepAlive.while(this.#stopped.promise));
  }

  /**
   * Resolves when the guest can be used: when tsvm's init has reported, which starts the command or the shell; in a guest that
   * boots by itself, when `BootOptions.readyPattern` is on its console, or without one, when the console shows anything at all.
   * Rejects with a {@link MachineEndedError} if the machine ends before.
   */
  get ready(): Promise<void> {
    this.#waitedReady ??= this.#keepAlive.while(this.#ready.promise);
    this.#waitedReady.catch(() => undefined);
    return this.#waitedReady;
  }

  /**
   * Resolves when `pattern` is on the console, serial or virtio. Looks at what has come since the last match, or since the boot
   * (64 KiB at most); each console by itself. Escape sequences and carriage returns are part of the text.
   *
   * @throws MachineTimeoutError, MachineEndedError, or the reason of `options.signal`.
   * @example
   * ```ts
   * const machine = await Machine.boot({ cpus: 1, memory: 64 * 2 ** 20 });
   * await machine.waitForConsole("# ");
   * machine.writeConsole(Buffer.from("uname -m\n"));
   * const [, architecture] = await machine.waitForConsole(/^(x86\S+)/m);
   * await machine.stop();
   * ```
   */
  async waitForConsole(pattern: string | RegExp, options: WaitOptions = {}): Promise<RegExpExecArray> {
    const { timeout, signal } = options;
    const what = `the console shows ${typeof pattern === "string" ? JSON.stringify(pattern) : String(pattern)}`;
    signal?.throwIfAborted();
    const result = new Deferred<RegExpExecArray>();
    const stopSearch = this.#searchConsole(pattern, result.resolve);
    void this.#stopped.promise.then((report) => result.reject(new MachineEndedError(what, report)));
    const onAbort = (): void => result.reject(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    const timer =
      timeout === undefined
        ? undefined
        : setTimeout(() => result.reject(new MachineTimeoutError(what, timeout)), timeout);
    try {
      return await this.#keepAlive.while(result.promise);
    } finally {
      stopSearch();
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /**
   * What the command writes to its standard output, as a stream of its own; made when it is first asked for, and without what came
   * before. Whoever has asked for it must read it (or `resume()` it): while it is full the guest waits, and does not end either.
   */
  get stdout(): Readable {
    return this.#streams.stdout;
  }

  /** See {@link stdout}. */
  get stderr(): Readable {
    return this.#streams.stderr;
  }

  /** The command's standard input. What is written before it has started waits for it. */
  get stdin(): Writable {
    return this.#streams.stdin;
  }

  /**
   * The console: what the guest prints on the serial port and on the virtio console; what is written is typed on the virtio
   * console, or on the serial port if there is none. See {@link stdout} on reading.
   */
  get console(): Duplex {
    return this.#streams.console;
  }

  /** Types on the guest's console. False when the guest takes it slower than it comes: see {@link onceConsoleDrained}. */
  writeConsole(bytes: Uint8Array): boolean {
    return this.#input.writeConsole(bytes);
  }

  /** What was typed on the console has gone to the guest. */
  onceConsoleDrained(listener: () => void): void {
    this.#input.onceConsoleDrained(listener);
  }

  /** Tells the guest how large the terminal behind its console is. */
  resizeConsole(size: WindowSize): void {
    this.#input.resizeConsole(size);
  }

  /** Standard input of the command. False when the guest takes it slower than it comes: wait for {@link onceStdinDrained}. */
  writeStdin(bytes: Uint8Array): boolean {
    return this.#input.writeStdin(bytes);
  }

  /** What the guest is to be sent has gone. */
  onceStdinDrained(listener: () => void): void {
    this.#input.onceStdinDrained(listener);
  }

  endStdin(): void {
    this.#input.endStdin();
  }

  /** Sends a signal to the command in the guest. */
  signalCommand(signal: number): void {
    this.#input.signalCommand(signal);
  }

  /** Holds back output of the guest, which then waits; for consumers that are slower than the guest. */
  pauseOutput(): void {
    this.#output.hold("console", this);
    this.#output.hold("control", this);
  }

  resumeOutput(): void {
    this.#output.release("console", this);
    this.#output.release("control", this);
  }

  /** Exits to user space so far. */
  get exits(): ExitCounts {
    return this.#assembly.control.exits;
  }

  /**
   * What the machine uses. After its end: what it had used.
   *
   * @example
   * ```ts
   * const { cpuTime, memory } = machine.stats();
   * console.log(`${cpuTime.total.toFixed()} ms, ${memory.resident >> 20} of ${memory.size >> 20} MiB`);
   * ```
   */
  stats(): MachineStats {
    return this.#stats ?? machineStats(this.#assembly);
  }

  /**
   * Interrupts all processors briefly. Where each was before is in {@link instructionPointers} about 0.1 ms later.
   * A profiler calls this often.
   */
  probe(): void {
    if (this.#reason === undefined) this.#threads.interrupt(VcpuCommand.Probe);
  }

  /** The instruction pointer of each processor at its last probe. */
  get instructionPointers(): bigint[] {
    const { control, vcpus } = this.#assembly;
    return vcpus.map(({ index }) => control.vcpu(index).rip);
  }

  /**
   * Stops all processors where they are; resolves when none executes guest code any more. Requests to devices that were under
   * way are still completed. The guest's clock goes on.
   *
   * @throws MachineStateError if the machine has ended, or ends meanwhile.
   */
  async pause(): Promise<void> {
    if (this.#reason !== undefined) throw new MachineStateError("pause()");
    return this.#keepAlive.while((this.#pausing ??= this.#pause()));
  }

  /**
   * Lets the processors go on; of no effect on a machine that runs.
   *
   * @throws MachineStateError if the machine has ended.
   */
  async resume(): Promise<void> {
    if (this.#pausing !== undefined) await this.#keepAlive.while(this.#pausing);
    if (this.#reason !== undefined) throw new MachineStateError("resume()");
    if (!this.#paused) return;
    this.#paused = false;
    this.#pausing = undefined;
    this.#threads.resume();
    this.#haltWatch.start();
    this.#tell("resumed");
  }

  /** Ends the machine at once, as if its power was cut. Resolves when nothing of it is left. */
  async stop(): Promise<StopReport> {
    this.#end("stopped");
    return this.stopped;
  }

  /**
   * Presses the power button, at which most systems shut down in good order, and ends the machine as {@link stop} does if it is
   * still there after the time limit. A guest that knows of no power button (no ACPI) is ended at once. A paused machine is
   * resumed first.
   */
  async shutdown({ timeout = SHUTDOWN_TIMEOUT_MS }: ShutdownOptions = {}): Promise<StopReport> {
    if (this.#pausing !== undefined && this.#reason === undefined) await this.resume().catch(() => undefined);
    if (!this.pressPowerButton()) return this.stop();
    if (this.#reason !== undefined) return this.stopped;
    clearTimeout(this.#shutdownTimer);
    this.#shutdownTimer = setTimeout(() => this.#end("stopped"), timeout);
    return this.stopped;
  }

  /** What `await using` does at the end of the block: {@link stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Presses the power button. False if the guest does not know of it: it has no ACPI, or has not come that far. */
  pressPowerButton(): boolean {
    return this.#report !== undefined || this.#powerButton.press();
  }

  /** Whether the guest reads ACPI tables, which tell of a power button. */
  get knowsPowerButton(): boolean {
    return this.#powerButton.known;
  }

  /** Keeps the program alive until the machine has ended, whether anybody waits for it or not. */
  ref(): this {
    this.#keepAlive.ref();
    return this;
  }

  /** Lets the program end although somebody waits for the machine, which is gone then. */
  unref(): this {
    this.#keepAlive.unref();
    return this;
  }

  /** Gets all threads out of the guest without waiting for anything; for the end of the process. */
  abandon(): void {
    if (this.#takenDown) return;
    this.#threads.stop();
    this.#threads.stopIo();
    // Whoever waits for room in the serial port's pipe finds it broken instead.
    this.#assembly.pipes.serialOutput.breakMainEnd();
  }

  async #pause(): Promise<void> {
    this.#haltWatch.stop();
    if (!(await this.#threads.pause())) throw new MachineStateError("pause()");
    this.#paused = true;
    this.#tell("paused");
  }

  #obey(signal: AbortSignal): void {
    const onAbort = (): void => this.#end("stopped");
    signal.addEventListener("abort", onAbort, { once: true });
    void this.#stopped.promise.then(() => signal.removeEventListener("abort", onAbort));
  }

  #searchConsole(pattern: string | RegExp, found: (match: RegExpExecArray) => void): () => void {
    const undo: (() => void)[] = [];
    const stop = (): void => undo.forEach((step) => step());
    for (const search of [this.#searches.serial, this.#searches.virtio]) {
      undo.push(
        search.add(pattern, (match) => {
          stop();
          found(match);
        }),
      );
    }
    return stop;
  }

  #openSession(input: Writable): GuestSession {
    return new GuestSession(input, {
      hello: () => {
        if (this.#userland !== undefined) return;
        this.#userland = monotonicNow();
        if (this.#readyWhen === "userland") this.#ready.resolve();
        this.#tell("userland");
      },
      stdout: (bytes) => {
        this.#streams.push("stdout", bytes);
        this.#tell("stdout", bytes);
      },
      stderr: (bytes) => {
        this.#streams.push("stderr", bytes);
        this.#tell("stderr", bytes);
      },
      exit: (exit) => {
        this.#command = exit;
        this.#end("command");
      },
    });
  }

  #onConsole(bytes: Buffer, source: ConsoleSource): void {
    this.#firstConsoleByte ??= monotonicNow();
    if (this.#readyWhen === "console") this.#ready.resolve();
    this.#panics[source].push(bytes);
    this.#streams.push("console", bytes);
    this.#tell("console", bytes, source);
    this.#searches[source].push(bytes);
  }

  #onControl(session: GuestSession | undefined, bytes: Buffer): void {
    try {
      session?.receive(bytes);
    } catch (error) {
      if (!(error instanceof GuestProtocolError)) throw error;
      this.#fail(error);
    }
  }

  /** A listener that throws is the program's affair, and must not keep the machine from going on. */
  #tell<E extends keyof MachineEvents>(event: E, ...args: MachineEvents[E]): void {
    try {
      // The type of emit() does not see that E is one event.
      (this as EventEmitter).emit(event, ...args);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }

  #fail(error: TsvmError): void {
    this.#error ??= error;
    this.#end("crash");
  }

  #end(reason: StopReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#haltWatch.stop();
    clearTimeout(this.#shutdownTimer);
    this.#threads.stop();
    this.#output.releaseAll();
  }

  async #takeDown(): Promise<void> {
    if (this.#takenDown) return;
    this.#takenDown = true;
    this.#input.close();
    await this.#output.drain();
    this.#streams.end();
    this.#stats = machineStats(this.#assembly);
    const report = this.#makeReport(this.#stats);
    await this.#cleanup.run();
    removeLiveMachine(this);
    this.#report = report;
    this.#stopped.resolve(report);
    this.#ready.reject(new MachineEndedError("it was ready", report));
    this.#keepAlive.end();
    this.#tell("stopped", report);
  }

  #makeReport(stats: MachineStats): StopReport {
    const { serial, virtio } = this.#panics;
    const panic = serial.panic ?? virtio.panic;
    return {
      reason: this.#finalReason(panic),
      command: this.#command,
      panic,
      powerButton: this.#powerButton.outcome,
      error: this.#error,
      timeline: this.#timeline(),
      exits: stats.exits,
      stats,
    };
  }

  #finalReason(panic: string | undefined): StopReason {
    const reason = this.#reason!;
    // init says how the command ended and then resets: a processor's word may be here before what is in the pipe.
    if (this.#command !== undefined && (reason === "reset" || reason === "shutdown")) return "command";
    return panic !== undefined && reason !== "command" ? "panic" : reason;
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
}
