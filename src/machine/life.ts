/**
 * The life of a machine, from the start of its threads to the report of how it ended: notices why it ends, and takes everything
 * down in the right order. What programs see of it is in machine.ts.
 */
import type { Writable } from "node:stream";
import type { TsvmError } from "../errors.ts";
import type { Assembly } from "./assemble.ts";
import type { Cleanup } from "./cleanup.ts";
import { monotonicNow } from "./clock.ts";
import { ConsoleWatch } from "./console-wait.ts";
import { VcpuCommand } from "./control.ts";
import { Deferred } from "../deferred.ts";
import { MachineEndedError, MachineStateError } from "./errors.ts";
import { GuestProtocolError, type CommandExit } from "./guest-init.ts";
import { GuestAgent } from "./guest-agent.ts";
import { GuestInput } from "./guest-input.ts";
import { GuestOutput, type ConsoleSource } from "./guest-output.ts";
import { GuestSession } from "./guest-session.ts";
import { GuestStreams } from "./guest-streams.ts";
import { HaltWatch } from "./halt-watch.ts";
import { KeepAlive } from "./keep-alive.ts";
import { addLiveMachine, removeLiveMachine } from "./live-machines.ts";
import type { MachineEvents, MachineState } from "./machine-types.ts";
import { PanicWatcher } from "./panic.ts";
import { GuestPowerButton } from "./power-button.ts";
import type { StopReason, StopReport, Timeline } from "./report.ts";
import { machineStats, type MachineStats } from "./stats.ts";
import { MachineThreads } from "./threads.ts";

export interface LifeOptions {
  /** When the boot began. */
  readonly start: number;
  /** The frame for tsvm's init. */
  readonly run: Uint8Array | undefined;
  readonly readyPattern: string | RegExp | undefined;
  /** Whether tsvm's init starts the agent by itself, or when it is asked to. */
  readonly agent: "now" | "later" | undefined;
  /** Tells the program; may throw what a listener throws. */
  readonly emit: <E extends keyof MachineEvents>(event: E, ...args: MachineEvents[E]) => void;
}

export class MachineLife {
  readonly threads: MachineThreads;
  readonly output: GuestOutput;
  readonly input: GuestInput;
  readonly streams: GuestStreams;
  readonly powerButton: GuestPowerButton;
  readonly guestAgent: GuestAgent;
  readonly keepAlive = new KeepAlive();
  readonly consoleWatch = new ConsoleWatch();
  readonly #assembly: Assembly;
  readonly #cleanup: Cleanup;
  readonly #options: LifeOptions;
  readonly #haltWatch: HaltWatch;
  readonly #panics = { serial: new PanicWatcher(), virtio: new PanicWatcher() };
  readonly #stopped = new Deferred<StopReport>();
  readonly #ready = new Deferred<void>();
  readonly #readyWhen: "pattern" | "userland" | "console";
  readonly #loaded: number;
  #firstConsoleByte: number | undefined;
  #userland: number | undefined;
  #reason: StopReason | undefined;
  #command: CommandExit | undefined;
  #error: TsvmError | undefined;
  /** From the request to pause on. */
  #pausing: Promise<void> | undefined;
  #paused = false;
  #takenDown = false;
  #finalStats: MachineStats | undefined;
  #report: StopReport | undefined;

  /** Starts the machine. All that was made for it is undone by `cleanup` at its end. */
  constructor(assembly: Assembly, cleanup: Cleanup, options: LifeOptions) {
    this.#assembly = assembly;
    this.#cleanup = cleanup;
    this.#options = options;
    this.threads = new MachineThreads(assembly, {
      guestStop: (kind) => this.end(kind),
      warning: (text) => options.emit("warning", text),
      failed: (error) => this.#fail(error),
      ended: () => void this.#takeDown(),
    });
    this.#loaded = monotonicNow();
    // The guest first: all else is done while it starts.
    this.threads.start();
    addLiveMachine(this);
    const control = assembly.pipes.virtio?.controlInput;
    const session = control === undefined ? undefined : this.#openSession(control.stream());
    this.input = new GuestInput(assembly, session, () => this.threads.startIo());
    this.output = new GuestOutput(assembly.pipes, {
      console: (bytes, source) => this.#onConsole(bytes, source),
      control: (bytes) => this.#onControl(session, bytes),
    });
    this.streams = new GuestStreams(this.output, this.keepAlive, {
      console: (bytes, done) => void this.input.writeConsole(bytes, done),
      stdin: (bytes, done) => void this.input.writeStdin(bytes, done),
      endStdin: () => this.input.endStdin(),
    });
    if (options.run !== undefined) session?.run(options.run);
    this.powerButton = new GuestPowerButton(assembly.plan);
    this.guestAgent = new GuestAgent(options.agent, () => this.input.startAgent());
    this.#haltWatch = new HaltWatch(
      assembly.control,
      () => this.threads.interrupt(VcpuCommand.Probe),
      () => this.end("halt"),
    );
    this.#haltWatch.start();
    const { readyPattern } = options;
    this.#readyWhen = readyPattern !== undefined ? "pattern" : session !== undefined ? "userland" : "console";
    if (readyPattern !== undefined) this.consoleWatch.search(readyPattern, () => this.#ready.resolve());
  }

  get state(): MachineState {
    if (this.#report !== undefined) return "stopped";
    if (this.#reason !== undefined) return "stopping";
    return this.#paused ? "paused" : "running";
  }

  get ended(): boolean {
    return this.#reason !== undefined;
  }

  /** Resolves when nothing is left. */
  get stopped(): Promise<StopReport> {
    return this.#stopped.promise;
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get stats(): MachineStats {
    return this.#finalStats ?? machineStats(this.#assembly);
  }

  async pause(): Promise<void> {
    if (this.ended) throw new MachineStateError("pause()");
    return this.keepAlive.while((this.#pausing ??= this.#pause()));
  }

  async resume(): Promise<void> {
    if (this.#pausing !== undefined) await this.keepAlive.while(this.#pausing);
    if (this.ended) throw new MachineStateError("resume()");
    if (!this.#paused) return;
    this.#paused = false;
    this.#pausing = undefined;
    this.threads.resume();
    this.#haltWatch.start();
    this.#tell("resumed");
  }

  /** Begins the end; the first reason counts. */
  end(reason: StopReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#haltWatch.stop();
    this.threads.stop();
    this.output.releaseAll();
  }

  abandon(): void {
    if (this.#takenDown) return;
    this.threads.stop();
    this.threads.stopIo();
    // Whoever waits for room in the serial port's pipe finds it broken instead.
    this.#assembly.pipes.serialOutput.breakMainEnd();
  }

  async #pause(): Promise<void> {
    this.#haltWatch.stop();
    if (!(await this.threads.pause())) throw new MachineStateError("pause()");
    this.#paused = true;
    this.#tell("paused");
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
        this.streams.push("stdout", bytes);
        this.#tell("stdout", bytes);
      },
      stderr: (bytes) => {
        this.streams.push("stderr", bytes);
        this.#tell("stderr", bytes);
      },
      exit: (exit) => {
        this.#command = exit;
        this.end("command");
      },
      agent: (errno) => this.guestAgent.answered(errno),
    });
  }

  #onConsole(bytes: Buffer, source: ConsoleSource): void {
    this.#firstConsoleByte ??= monotonicNow();
    if (this.#readyWhen === "console") this.#ready.resolve();
    this.#panics[source].push(bytes);
    this.streams.push("console", bytes);
    this.#tell("console", bytes, source);
    this.consoleWatch.push(bytes, source);
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
      this.#options.emit(event, ...args);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }

  #fail(error: TsvmError): void {
    this.#error ??= error;
    this.end("crash");
  }

  async #takeDown(): Promise<void> {
    if (this.#takenDown) return;
    this.#takenDown = true;
    this.input.close();
    await this.output.drain();
    this.streams.end();
    this.#finalStats = machineStats(this.#assembly);
    const report = this.#makeReport(this.#finalStats);
    await this.#cleanup.run();
    removeLiveMachine(this);
    this.#report = report;
    this.#stopped.resolve(report);
    this.#ready.reject(new MachineEndedError("it was ready", report));
    this.consoleWatch.end(report);
    this.guestAgent.end(new MachineEndedError("its agent listened", report));
    this.keepAlive.end();
    this.#tell("stopped", report);
  }

  #makeReport(stats: MachineStats): StopReport {
    const { serial, virtio } = this.#panics;
    const panic = serial.panic ?? virtio.panic;
    return {
      reason: this.#finalReason(panic),
      command: this.#command,
      panic,
      powerButton: this.powerButton.outcome,
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
      start: this.#options.start,
      loaded: this.#loaded,
      firstEntry: firstEntry === 0 ? undefined : firstEntry,
      firstExit: firstExit === 0 ? undefined : firstExit,
      firstConsoleByte: this.#firstConsoleByte,
      userland: this.#userland,
      stopped: monotonicNow(),
    };
  }
}
