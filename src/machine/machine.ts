/** One running machine, as a program sees it. What happens behind is in life.ts. */
import { EventEmitter } from "node:events";
import type { Duplex, Readable, Writable } from "node:stream";
import {
  checkAbortSignal,
  checkBalloonSize,
  checkBytes,
  checkListener,
  checkOptions,
  checkPattern,
  checkSignalNumber,
  checkTimeout,
  checkWindowSize,
} from "../arguments.ts";
import type {
  AgentClient,
  AgentOptions,
  CopyFromOptions,
  CopyToOptions,
  ExecOptions,
} from "../agent/client.ts";
import type { CopyResult } from "../agent/copy-to.ts";
import type { AgentError } from "../agent/errors.ts";
import type { GuestProcess } from "../agent/process.ts";
import type { FilesInMemory } from "../agent/tree-source.ts";
import type { WindowSize } from "../devices/virtio/console.ts";
import type { BootEntry } from "../disk/boot-entry/boot-entry.ts";
import { Kvm } from "../kvm/kvm.ts";
import { vcpuLimit } from "../kvm/limits.ts";
import { assemble, type Assembly } from "./assemble.ts";
import { setBalloonTarget } from "./balloon.ts";
import { bootTurn } from "./boot-turn.ts";
import { Cleanup } from "./cleanup.ts";
import { monotonicNow } from "./clock.ts";
import { VcpuCommand, type ExitCounts } from "./control.ts";
import { validateDescription, type MachineDescription } from "./description.ts";
import { MachineStateError } from "./errors.ts";
import { MachineLife, type LifeOptions } from "./life.ts";
import type {
  BootOptions,
  MachineEvents,
  MachineState,
  ShutdownOptions,
  WaitOptions,
} from "./machine-types.ts";
import type { OpenNetworks } from "./networks.ts";
import type { StopReport } from "./report.ts";
import { resolveMachine, type ResolvedMachine } from "./resolve.ts";
import type { MachineStats } from "./stats.ts";
import type { OpenVsock } from "./vsock.ts";
import type { VsockConnectOptions } from "./vsock-connect.ts";

const SHUTDOWN_TIMEOUT_MS = 30_000;
const DEFAULT_WINDOW: WindowSize = { rows: 25, columns: 80 };
const BOOT_OPTIONS = { windowSize: checkWindowSize, signal: checkAbortSignal, readyPattern: checkPattern };
const WAIT_OPTIONS = { timeout: checkTimeout, signal: checkAbortSignal };

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
  /** Absolute path of the vsock device's unix socket, where the machine has one. */
  readonly vsockPath: string | undefined;
  readonly #assembly: Assembly;
  readonly #life: MachineLife;
  #stopped: Promise<StopReport> | undefined;
  #ready: Promise<void> | undefined;
  #shutdownTimer: NodeJS.Timeout | undefined;
  #agentClient: AgentClient | undefined;

  private constructor(
    assembly: Assembly,
    { kernel, run, agent }: ResolvedMachine,
    cleanup: Cleanup,
    options: Pick<LifeOptions, "start" | "readyPattern">,
    vsockPath: string | undefined,
  ) {
    super();
    this.#assembly = assembly;
    this.commandLine = assembly.commandLine;
    this.warnings = assembly.warnings;
    this.bootEntry = typeof kernel === "string" ? undefined : kernel.entry;
    this.vsockPath = vsockPath;
    // The type of emit() does not see that an event and its arguments belong together.
    const emit = (event: keyof MachineEvents, ...args: unknown[]): void => {
      (this as EventEmitter).emit(event, ...args);
    };
    this.#life = new MachineLife(assembly, cleanup, { ...options, run, agent, emit });
  }

  /**
   * Makes the machine and starts it.
   *
   * @throws TsvmError, with nothing left behind, where that cannot be done; the reason of `options.signal` if that is aborted.
   * @example
   * ```ts
   * await using machine = await Machine.boot(
   *   { cpus: 1, memory: 64 * 2 ** 20, command: { argv: ["sleep", "60"] } },
   *   { signal: AbortSignal.timeout(5_000) },
   * );
   * const { reason } = await machine.stopped; // "stopped": the time was over
   * ```
   */
  static async boot(description: MachineDescription, options: BootOptions = {}): Promise<Machine> {
    const start = monotonicNow();
    checkOptions("Machine.boot", options, BOOT_OPTIONS);
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
      const networks = await openNetworksOf(resolved, cleanup);
      const vsock = await openVsockOf(resolved, cleanup);
      const assembly = assemble(resolved, kvm, windowSize, networks.open, vsock, cleanup);
      await Promise.all([assembly.memoryInPlace, networks.ready]);
      signal?.throwIfAborted();
      const machine = new Machine(assembly, resolved, cleanup, { start, readyPattern }, vsock?.path);
      if (signal !== undefined) machine.#obey(signal);
      return machine;
    } catch (error) {
      await cleanup.run();
      throw error;
    }
  }

  /** `stopping` from the moment that the end is certain, `stopped` when {@link stopped} resolves. */
  get state(): MachineState {
    return this.#life.state;
  }

  /** Resolves when nothing of the machine is left, whatever the reason; never rejects. */
  get stopped(): Promise<StopReport> {
    return (this.#stopped ??= this.#life.keepAlive.while(this.#life.stopped));
  }

  /**
   * Resolves when the guest can be used: when tsvm's init has reported, which starts the command or the shell; in a guest that
   * boots by itself, when `BootOptions.readyPattern` is on its console, or without one, when the console shows anything at all.
   * Rejects with a {@link MachineEndedError} if the machine ends before.
   */
  get ready(): Promise<void> {
    this.#ready ??= this.#life.keepAlive.while(this.#life.ready);
    // Whoever looks at the promise hears of a failure; nobody has to.
    this.#ready.catch(() => undefined);
    return this.#ready;
  }

  /**
   * Resolves when `pattern` is on the console, serial or virtio. Looks at what has come since the last match, or since the boot
   * (64 KiB at most); each console by itself. Escape sequences and carriage returns are part of the text.
   *
   * @throws MachineTimeoutError, MachineEndedError, ArgumentError, or the reason of `options.signal`.
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
    checkPattern("waitForConsole: pattern", pattern);
    checkOptions("waitForConsole", options, WAIT_OPTIONS);
    const { consoleWatch, keepAlive } = this.#life;
    return keepAlive.while(consoleWatch.wait(pattern, options));
  }

  /**
   * What the command writes to its standard output, as a stream of its own; made when it is first asked for, and without what came
   * before. Whoever has asked for it must read it (or `resume()` it): while it is full the guest waits, and does not end either.
   */
  get stdout(): Readable {
    return this.#life.streams.stdout;
  }

  /** See {@link stdout}. */
  get stderr(): Readable {
    return this.#life.streams.stderr;
  }

  /** The command's standard input. What is written before it has started waits for it. */
  get stdin(): Writable {
    return this.#life.streams.stdin;
  }

  /**
   * The console: what the guest prints on the serial port and on the virtio console; what is written is typed on the virtio
   * console, or on the serial port if there is none. See {@link stdout} on reading.
   */
  get console(): Duplex {
    return this.#life.streams.console;
  }

  /** Types on the guest's console. False when the guest takes it slower than it comes: see {@link onceConsoleDrained}. */
  writeConsole(bytes: Uint8Array): boolean {
    checkBytes("writeConsole: bytes", bytes);
    return this.#life.input.writeConsole(bytes);
  }

  /** What was typed on the console has gone to the guest. */
  onceConsoleDrained(listener: () => void): void {
    checkListener("onceConsoleDrained: listener", listener);
    this.#life.input.onceConsoleDrained(listener);
  }

  /** Tells the guest how large the terminal behind its console is. */
  resizeConsole(size: WindowSize): void {
    checkWindowSize("resizeConsole: size", size);
    this.#life.input.resizeConsole(size);
  }

  /** Standard input of the command. False when the guest takes it slower than it comes: wait for {@link onceStdinDrained}. */
  writeStdin(bytes: Uint8Array): boolean {
    checkBytes("writeStdin: bytes", bytes);
    return this.#life.input.writeStdin(bytes);
  }

  /** What the guest is to be sent has gone. */
  onceStdinDrained(listener: () => void): void {
    checkListener("onceStdinDrained: listener", listener);
    this.#life.input.onceStdinDrained(listener);
  }

  /** Nothing more comes on the command's standard input. */
  endStdin(): void {
    this.#life.input.endStdin();
  }

  /** Sends a signal, by its number, to the command in the guest. */
  signalCommand(signal: number): void {
    checkSignalNumber("signalCommand: signal", signal);
    this.#life.input.signalCommand(signal);
  }

  /** Holds back output of the guest, which then waits; for consumers that are slower than the guest. */
  pauseOutput(): void {
    this.#life.output.hold("console", this);
    this.#life.output.hold("control", this);
  }

  /** Takes {@link pauseOutput} back. */
  resumeOutput(): void {
    this.#life.output.release("console", this);
    this.#life.output.release("control", this);
  }

  /**
   * Connects to a vsock port of the guest, at which a program of the guest must listen. The stream ends in each direction by itself:
   * when nothing more comes, `end()` it too. Needs `vsock` in the description.
   *
   * @throws VsockConnectError, MachineStateError, or the reason of `options.signal`.
   * @example
   * ```ts
   * await using machine = await Machine.boot({ cpus: 1, memory: 64 * 2 ** 20, vsock: {} });
   * await machine.ready;
   * const refusal = await machine.vsock(1234).catch((error: Error) => error.message);
   * console.log(refusal); // "vsock port 1234: the guest takes no connection there"
   * ```
   */
  async vsock(port: number, options: VsockConnectOptions = {}): Promise<Duplex> {
    if (this.#life.ended) throw new MachineStateError("vsock()");
    const { connectVsock, VsockConnectError } = await import("./vsock-connect.ts");
    if (this.vsockPath === undefined) throw new VsockConnectError("none", "the machine has no vsock device");
    return connectVsock(this.vsockPath, port, options);
  }

  /**
   * Starts a command in the guest, beside what runs there; by the agent, which the description must ask for (`agent`), or which must
   * be installed in the guest. docs/agent.md.
   *
   * @throws AgentError, ArgumentError, MachineStateError, MachineEndedError, or the reason of `options.signal`. That the command could
   * not be started is told by {@link GuestProcess.exit}.
   * @example
   * ```ts
   * await using machine = await Machine.boot({ cpus: 1, memory: 64 * 2 ** 20, agent: "only" });
   * const process = await machine.exec(["sh", "-c", "cat; exit 3"]);
   * process.stdin.end("hello\n");
   * for await (const bytes of process.stdout) console.log(`${bytes}`); // hello
   * const { status, usage } = await process.exit;
   * console.log(status, usage.memory > 0); // 3 true
   * ```
   */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<GuestProcess> {
    return (await this.#agent()).exec(argv, options);
  }

  /**
   * Copies a file, or a directory with all that is in it, into the guest, as `docker cp` does: into `guestPath` where that is a
   * directory, else under that name. `local/.` copies what is in the directory, without its name.
   *
   * @throws CopyError where something was not copied; else as {@link exec}.
   */
  async copyTo(localPath: string, guestPath: string, options: CopyToOptions = {}): Promise<CopyResult> {
    return (await this.#agent()).copyTo(localPath, guestPath, options);
  }

  /** Makes files in the guest of what is in memory, below the directory `guestPath`. See {@link copyTo}. */
  async writeFiles(
    files: FilesInMemory,
    guestPath: string,
    options: CopyToOptions = {},
  ): Promise<CopyResult> {
    return (await this.#agent()).writeFiles(files, guestPath, options);
  }

  /** As {@link copyTo}, out of the guest. Whatever that sends, nothing is written outside `localPath`. */
  async copyFrom(guestPath: string, localPath: string, options: CopyFromOptions = {}): Promise<CopyResult> {
    return (await this.#agent()).copyFrom(guestPath, localPath, options);
  }

  /** Sets the guest's clock, to the host's or to `time` (ms since 1970). Throws as {@link exec} does. */
  async setTime(time?: number, options: AgentOptions = {}): Promise<void> {
    return (await this.#agent()).setTime(time, options);
  }

  /**
   * Resolves when the guest's agent answers. Only of use with guests that have an init of their own: the agent of tsvm's init is
   * waited for by all that needs it.
   *
   * @throws MachineTimeoutError, MachineEndedError, AgentError, or the reason of `options.signal`.
   */
  async waitForAgent(options: WaitOptions = {}): Promise<void> {
    checkOptions("waitForAgent", options, WAIT_OPTIONS);
    const agent = await this.#agent();
    const { waitForAgent } = await import("./machine-agent.ts");
    return this.#life.keepAlive.while(waitForAgent(this.#life, agent, options));
  }

  async #agent(): Promise<AgentClient> {
    // Only now: most machines do without it.
    const { machineAgent } = await import("./machine-agent.ts");
    return (this.#agentClient ??= machineAgent(this.#life, this.vsockPath));
  }

  /**
   * How many bytes the guest is to give up; 0 lets it have all of its memory again. Takes effect as soon as the guest does it, which it
   * may never: see `balloon` of {@link stats}. Rounded down to pages of 4096 bytes.
   *
   * @throws BalloonError, where the machine has none; MachineStateError, ArgumentError.
   * @example
   * ```ts
   * await using machine = await Machine.boot({ cpus: 1, memory: 128 * 2 ** 20, balloon: {} });
   * await machine.ready;
   * machine.setBalloon(32 * 2 ** 20);
   * ```
   */
  setBalloon(bytes: number): void {
    checkBalloonSize("setBalloon: bytes", bytes, this.#assembly.plan.memory.size);
    if (this.#life.ended) throw new MachineStateError("setBalloon()");
    setBalloonTarget(this.#assembly.plan, bytes);
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
   * await using machine = await Machine.boot({ cpus: 1, memory: 64 * 2 ** 20 });
   * await machine.ready;
   * const { cpuTime, memory } = machine.stats();
   * console.log(`${cpuTime.total.toFixed()} ms, ${memory.resident >> 20} of ${memory.size >> 20} MiB`);
   * ```
   */
  stats(): MachineStats {
    return this.#life.stats;
  }

  /**
   * Interrupts all processors briefly. Where each was before is in {@link instructionPointers} about 0.1 ms later.
   * A profiler calls this often.
   */
  probe(): void {
    if (!this.#life.ended) this.#life.threads.interrupt(VcpuCommand.Probe);
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
    return this.#life.pause();
  }

  /**
   * Lets the processors go on; of no effect on a machine that runs.
   *
   * @throws MachineStateError if the machine has ended.
   */
  async resume(): Promise<void> {
    return this.#life.resume();
  }

  /** Ends the machine at once, as if its power was cut. Resolves when nothing of it is left. There are no options. */
  async stop(options: Record<string, never> = {}): Promise<StopReport> {
    checkOptions("stop", options, {}, "shutdown({ timeout }) gives the guest time");
    this.#life.end("stopped");
    return this.stopped;
  }

  /**
   * Presses the power button, at which most systems shut down in good order, and ends the machine as {@link stop} does if it is
   * still there after the time limit. A guest that knows of no power button (no ACPI) hears of it by the agent of tsvm's init,
   * and is ended at once where that does not run either. A paused machine is resumed first.
   */
  async shutdown(options: ShutdownOptions = {}): Promise<StopReport> {
    checkOptions("shutdown", options, { timeout: checkTimeout });
    const { timeout = SHUTDOWN_TIMEOUT_MS } = options;
    if (!this.#life.ended) await this.resume().catch(() => undefined); // of one that ends meanwhile
    if (this.#life.ended) return this.stopped;
    if (!this.pressPowerButton()) {
      if (!this.#life.guestAgent.listens) return this.stop();
      // It tells tsvm's init, which ends what runs and closes the disk.
      void this.#agent()
        .then((agent) => agent.shutdown())
        .catch((error: unknown) => {
          // It may be ended with all others before it has answered.
          if ((error as AgentError).code !== "ERR_AGENT_LOST") this.#life.end("stopped");
        });
    }
    clearTimeout(this.#shutdownTimer);
    this.#shutdownTimer = setTimeout(() => this.#life.end("stopped"), timeout).unref();
    void this.#life.stopped.then(() => clearTimeout(this.#shutdownTimer));
    return this.stopped;
  }

  /** What `await using` does at the end of the block: {@link stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Presses the power button. False if the guest does not know of it: it has no ACPI, or has not come that far. */
  pressPowerButton(): boolean {
    return this.state === "stopped" || this.#life.powerButton.press();
  }

  /** Whether the guest reads ACPI tables, which tell of a power button. */
  get knowsPowerButton(): boolean {
    return this.#life.powerButton.known;
  }

  /** Keeps the program alive until the machine has ended, whether anybody waits for it or not. */
  ref(): this {
    this.#life.keepAlive.ref();
    return this;
  }

  /** Lets the program end although somebody waits for the machine, which is gone then. */
  unref(): this {
    this.#life.keepAlive.unref();
    return this;
  }

  /** Gets all threads out of the guest without waiting for anything; for the end of the process. */
  abandon(): void {
    this.#life.abandon();
  }

  #obey(signal: AbortSignal): void {
    const onAbort = (): void => this.#life.end("stopped");
    signal.addEventListener("abort", onAbort, { once: true });
    void this.#life.stopped.then(() => signal.removeEventListener("abort", onAbort));
  }
}

async function openNetworksOf(machine: ResolvedMachine, cleanup: Cleanup): Promise<OpenNetworks> {
  if (machine.networks.length === 0) return { open: [], ready: undefined };
  // Only now: most machines have none.
  const { openNetworks } = await import("./networks.ts");
  return openNetworks(machine, cleanup);
}

async function openVsockOf({ vsock }: ResolvedMachine, cleanup: Cleanup): Promise<OpenVsock | undefined> {
  if (vsock === undefined) return undefined;
  const { openVsock } = await import("./vsock.ts");
  return openVsock(vsock, cleanup);
}
