/** `tsvm exec`: a command in a VM of the background, with its streams and its exit status as ours. */
import { constants } from "node:os";
import { isatty } from "node:tty";
import type { Readable } from "node:stream";
import { AgentError } from "../../agent/errors.ts";
import type { GuestProcess } from "../../agent/process.ts";
import { agentOf } from "../../manager/agent.ts";
import { Manager } from "../../manager/manager.ts";
import { UsageError } from "../errors.ts";
import { EscapeFilter } from "../escape-filter.ts";
import { ExitCode, signalStatus } from "../exit-codes.ts";
import { onOutputFailure, standardOutput } from "../output.ts";
import { terminalSize, useRawTerminal } from "../raw-terminal.ts";
import { parseDuration } from "../values.ts";

export interface ExecFlags {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly env?: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly timeout?: string;
}

const { ENOENT } = constants.errno;
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const HELP = [
  "",
  "Ctrl-A x   leave: the command is ended",
  "Ctrl-A h   this help",
  "Ctrl-A Ctrl-A   send Ctrl-A",
  "",
].join("\r\n");

/** The result is the exit status: the command's own where it has run. */
export async function execCommand(
  name: string,
  command: readonly string[] | undefined,
  flags: ExecFlags,
): Promise<number> {
  if (command === undefined || command.length === 0)
    throw new UsageError("there is no command", `write it behind --: tsvm exec ${name} -- COMMAND`);
  const { interactive = false, tty = false } = flags;
  // What is typed goes byte by byte, and not as lines of ours.
  const terminal = tty && interactive && isatty(0) && isatty(1);
  if (tty && interactive && !terminal)
    throw new UsageError("-i and -t: our input or output is no terminal", "leave out -t");
  const agent = agentOf(new Manager().store.get(name));
  const started = await agent.exec(command, {
    env: {
      ...(tty && process.env.TERM !== undefined ? { TERM: process.env.TERM } : {}),
      ...variables(flags),
    },
    ...(flags.workdir === undefined ? {} : { cwd: flags.workdir }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
    ...(flags.timeout === undefined ? {} : { timeout: parseDuration("--timeout", flags.timeout) }),
    terminal: tty ? terminalSize() : false,
    stdin: interactive ? "pipe" : "none",
  });
  return new ExecSession(started, { interactive, terminal }).run();
}

function variables({ env = [] }: ExecFlags): Record<string, string> {
  return Object.fromEntries(
    env.map((text) => {
      const at = text.indexOf("=");
      if (at < 1) throw new UsageError(`-e: "${text}" is no NAME=VALUE`, "write -e NAME=VALUE");
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

class ExecSession {
  readonly #process: GuestProcess;
  readonly #interactive: boolean;
  readonly #terminal: boolean;
  /** What ended it from our side, as an exit status. */
  #left: number | undefined;

  constructor(process: GuestProcess, { interactive, terminal }: { interactive: boolean; terminal: boolean }) {
    this.#process = process;
    this.#interactive = interactive;
    this.#terminal = terminal;
  }

  async run(): Promise<number> {
    const undo: (() => void)[] = [];
    try {
      undo.push(
        onOutputFailure(() => this.#leave(ExitCode.Failure)),
        this.#connectSignals(),
      );
      if (this.#terminal) undo.push(this.#connectTerminal());
      else if (this.#interactive) undo.push(this.#connectInput());
      const [exit] = await Promise.all([
        this.#process.exit,
        show(this.#process.stdout, standardOutput()),
        show(this.#process.stderr, process.stderr),
      ]);
      if (exit.timedOut) return ExitCode.Timeout;
      return exit.status ?? signalStatus(exit.signal!);
    } catch (error) {
      if (this.#left !== undefined) return this.#left;
      if (!(error instanceof AgentError) || error.code !== "ERR_AGENT_REFUSED") throw error;
      process.stderr.write(`tsvm: ${error.message}${this.#terminal ? "\r\n" : "\n"}`);
      return error.errno === ENOENT ? ExitCode.NotFound : ExitCode.NotExecutable;
    } finally {
      for (const step of undo.reverse()) step();
    }
  }

  #leave(status: number): void {
    this.#left ??= status;
    void this.#process[Symbol.asyncDispose]();
  }

  /** The command gets the first one and decides; whoever sends a second one leaves. */
  #connectSignals(): () => void {
    const listeners = FORWARDED.map((signal) => {
      let sent = false;
      const listener = (): void => {
        if (sent) return this.#leave(signalStatus(constants.signals[signal]));
        sent = true;
        this.#process.kill(signal);
      };
      process.on(signal, listener);
      return () => process.off(signal, listener);
    });
    return () => {
      for (const off of listeners) off();
    };
  }

  #connectTerminal(): () => void {
    const { stdin } = this.#process;
    const filter = new EscapeFilter({
      // A terminal goes on: its user may want to leave a command that takes nothing.
      data: (bytes) => void stdin.write(Buffer.from(bytes)),
      leave: () => {
        process.stderr.write("\r\n[tsvm: left]\r\n");
        this.#leave(signalStatus(constants.signals.SIGHUP));
      },
      powerButton: () => undefined,
      help: () => process.stdout.write(HELP),
    });
    return useRawTerminal({
      data: (bytes) => filter.push(bytes),
      resize: (size) => this.#process.resize(size),
    });
  }

  #connectInput(): () => void {
    const { stdin } = process;
    stdin.on("error", () => this.#process.stdin.end());
    stdin.pipe(this.#process.stdin);
    return () => {
      stdin.unpipe();
      // A pipe that stays open must not keep us alive.
      stdin.destroy();
    };
  }
}

/** Writes all that comes, as fast as its reader takes it. */
async function show(from: Readable, to: NodeJS.WriteStream): Promise<void> {
  for await (const bytes of from as AsyncIterable<Buffer>) {
    if (!to.write(bytes) && !to.destroyed) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          to.off("drain", done).off("close", done).off("error", done);
          resolve();
        };
        to.on("drain", done).on("close", done).on("error", done);
      });
    }
  }
}
