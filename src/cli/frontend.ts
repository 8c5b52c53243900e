/**
 * What stands between a machine and the user: a raw terminal with an escape key, plain streams, or nothing at all. Restores the
 * terminal on every way out, and turns Ctrl-C and SIGTERM into a clean stop.
 */
import { constants } from "node:os";
import type { WindowSize } from "../devices/virtio/console.ts";
import type { Machine } from "../machine/machine.ts";
import type { StopReport } from "../machine/report.ts";
import type { Captured } from "./boot-report.ts";
import { EscapeFilter } from "./escape-filter.ts";
import { onOutputFailure, standardOutput } from "./output.ts";
import { terminalSize, useRawTerminal } from "./raw-terminal.ts";

/** `terminal`: raw mode; `stream`: stdout and stdin as they are; `quiet`: no console; `capture`: kept for a report. */
export type FrontendMode = "terminal" | "stream" | "quiet" | "capture";

export interface FrontendOptions {
  readonly mode: FrontendMode;
  /** The guest runs a command: its output goes to stdout, the console is not shown. */
  readonly command: boolean;
  /** The console carries the bundled guest's shell, which ends at the end of its input. */
  readonly shell: boolean;
  /** Kernel messages go to stderr even where they would be in the way. */
  readonly verbose: boolean;
  /** ms that a guest gets to shut down after a signal to tsvm. */
  readonly shutdownTimeout: number;
}

const { SIGINT, SIGTERM, SIGHUP } = constants.signals;
/** Between two attempts to tell the guest's shell that its input has ended. */
const END_INTERVAL_MS = 500;
/** End of transmission: what Ctrl-D sends. */
const EOT = Uint8Array.of(4);
const DEFAULT_WINDOW: WindowSize = { rows: 25, columns: 80 };
/** Captured output is cut here: a report is not an archive. */
const LARGEST_CAPTURE = 16 * 2 ** 20;

const HELP = [
  "",
  "Ctrl-A x   leave: end the machine at once, as if its power was cut",
  "Ctrl-A p   press the machine's power button",
  "Ctrl-A h   this help",
  "Ctrl-A Ctrl-A   send Ctrl-A",
  "",
].join("\r\n");

export class Frontend {
  readonly commandMode: boolean;
  /** The signal that made us stop the machine. */
  interruptedBy: number | undefined;
  /** A second signal came before the guest had shut down. */
  impatient = false;
  timedOut = false;
  /** Its user has left it with Ctrl-A x. */
  left = false;
  readonly #options: FrontendOptions;
  readonly #captured = { stdout: new Capture(), stderr: new Capture(), console: new Capture() };
  #machine: Machine | undefined;

  constructor(options: FrontendOptions) {
    this.#options = options;
    this.commandMode = options.command;
  }

  get windowSize(): WindowSize {
    return this.#options.mode === "terminal" ? terminalSize() : DEFAULT_WINDOW;
  }

  get captured(): Captured {
    const { stdout, stderr, console } = this.#captured;
    return { stdout: stdout.text, stderr: stderr.text, console: console.text };
  }

  timeOut(): void {
    this.timedOut = true;
    void this.#machine?.stop();
  }

  /** Connects the user with the machine until it ends. */
  async run(machine: Machine): Promise<StopReport> {
    this.#machine = machine;
    const undo: (() => void)[] = [];
    try {
      // Nothing that the guest does could be seen any more.
      undo.push(onOutputFailure(() => void machine.stop()));
      this.#connectOutput(machine);
      undo.push(this.#connectSignals(machine));
      if (this.#options.mode === "terminal") undo.push(this.#connectTerminal(machine));
      else if (this.#options.mode !== "quiet" || this.#options.command) {
        undo.push(this.#connectStreamInput(machine));
      }
      return await machine.stopped;
    } finally {
      for (const step of undo.reverse()) step();
    }
  }

  #connectOutput(machine: Machine): void {
    const { mode, command, verbose } = this.#options;
    if (mode === "capture") {
      machine.on("stdout", (bytes) => this.#captured.stdout.push(bytes));
      machine.on("stderr", (bytes) => this.#captured.stderr.push(bytes));
      machine.on("console", (bytes) => this.#captured.console.push(bytes));
      return;
    }
    const toStdout = this.#sender(standardOutput(), machine);
    const toStderr = this.#sender(process.stderr, machine);
    machine.on("stdout", toStdout);
    machine.on("stderr", toStderr);
    machine.on("console", (bytes, source) => {
      if (mode === "quiet") return;
      // A command's stdout is the command's alone. With a terminal its screen is the virtio console.
      const isScreen = !command || (mode === "terminal" && source === "virtio");
      if (isScreen) toStdout(bytes);
      else if (verbose) toStderr(bytes);
    });
  }

  /** Writes to a stream of ours. While its reader is behind, the guest waits. */
  #sender(stream: NodeJS.WriteStream, machine: Machine): (bytes: Buffer) => void {
    let waiting = false;
    return (bytes) => {
      if (stream.write(bytes) || waiting) return;
      waiting = true;
      machine.pauseOutput();
      stream.once("drain", () => {
        waiting = false;
        machine.resumeOutput();
      });
    };
  }

  #connectSignals(machine: Machine): () => void {
    const stop = (signal: number): void => {
      const again = this.interruptedBy !== undefined;
      this.interruptedBy ??= signal;
      this.impatient = again;
      if (again || this.#options.command) void machine.stop();
      else this.#shutDown(machine);
    };
    let userland = false;
    machine.once("userland", () => {
      userland = true;
    });
    const onInterrupt = (): void => {
      // A running command gets the first one and decides; whoever presses twice ends the machine.
      if (!this.#options.command || !userland || this.interruptedBy !== undefined) return stop(SIGINT);
      this.interruptedBy = SIGINT;
      machine.signalCommand(SIGINT);
    };
    const onTerminate = (): void => stop(SIGTERM);
    const onHangup = (): void => stop(SIGHUP);
    process.on("SIGINT", onInterrupt);
    process.on("SIGTERM", onTerminate);
    process.on("SIGHUP", onHangup);
    return () => {
      process.off("SIGINT", onInterrupt);
      process.off("SIGTERM", onTerminate);
      process.off("SIGHUP", onHangup);
    };
  }

  /** In good order where the guest knows how, at once where it does not. */
  #shutDown(machine: Machine): void {
    const { shutdownTimeout } = this.#options;
    void machine.shutdown({ timeout: shutdownTimeout });
    if (!machine.knowsPowerButton) return;
    this.#say(
      `pressed the guest's power button; it is forced off in ${shutdownTimeout / 1000} s, or at once by one more signal`,
    );
  }

  #say(text: string): void {
    process.stderr.write(`tsvm: ${text}${this.#options.mode === "terminal" ? "\r\n" : "\n"}`);
  }

  #connectTerminal(machine: Machine): () => void {
    const { stdout } = process;
    if (!this.#options.command) stdout.write("[tsvm: booting; Ctrl-A x leaves, Ctrl-A h helps]\r\n");
    const filter = new EscapeFilter({
      data: (bytes) => void machine.writeConsole(bytes),
      leave: () => {
        this.left = true;
        // What comes after it stands on a line of its own.
        stdout.write("\r\n");
        void machine.stop();
      },
      powerButton: () => {
        if (!machine.pressPowerButton())
          this.#say("the guest knows of no power button (no ACPI, or not yet)");
      },
      help: () => stdout.write(HELP),
    });
    return useRawTerminal({
      data: (bytes) => filter.push(bytes),
      resize: (size) => machine.resizeConsole(size),
    });
  }

  #connectStreamInput(machine: Machine): () => void {
    const { stdin } = process;
    const { command, shell } = this.#options;
    let endTimer: NodeJS.Timeout | undefined;
    const onData = (bytes: Buffer): void => {
      const room = command ? machine.writeStdin(bytes) : machine.writeConsole(bytes);
      if (room) return;
      stdin.pause();
      const resume = (): void => void stdin.resume();
      if (command) machine.onceStdinDrained(resume);
      else machine.onceConsoleDrained(resume);
    };
    const onEnd = (): void => {
      if (command) machine.endStdin();
      else if (shell) {
        // Only a shell that waits for input takes Ctrl-D for the end: type it until it does.
        machine.writeConsole(EOT);
        endTimer = setInterval(() => machine.writeConsole(EOT), END_INTERVAL_MS);
      }
    };
    const begin = (): void => {
      stdin.on("data", onData).once("end", onEnd).once("error", onEnd);
    };
    // A shell's terminal eats what is typed before its first prompt.
    if (shell) machine.once("console", begin);
    else begin();
    return () => {
      clearInterval(endTimer);
      machine.off("console", begin);
      stdin.off("data", onData).off("end", onEnd).off("error", onEnd);
      // A pipe that stays open must not keep us alive.
      stdin.destroy();
    };
  }
}

class Capture {
  #chunks: Buffer[] = [];
  #bytes = 0;

  push(bytes: Buffer): void {
    const room = LARGEST_CAPTURE - this.#bytes;
    if (room <= 0) return;
    const kept = bytes.subarray(0, room);
    this.#chunks.push(kept);
    this.#bytes += kept.length;
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}
