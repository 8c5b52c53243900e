/** `tsvm console`: the console of a running VM on this terminal, or on our stdin and stdout. */
import { constants } from "node:os";
import { isatty } from "node:tty";
import type { MonitorClient } from "../../manager/client.ts";
import { printable } from "../../definition/problem.ts";
import { exitText } from "../../manager/exit-text.ts";
import { Manager } from "../../manager/manager.ts";
import type { Notice } from "../../manager/protocol.ts";
import { EscapeFilter } from "../escape-filter.ts";
import { signalStatus } from "../exit-codes.ts";
import { onOutputFailure, standardOutput } from "../output.ts";
import { terminalSize, useRawTerminal } from "../raw-terminal.ts";

export interface ConsoleFlags {
  /** What it has shown before comes first. */
  readonly scrollback: boolean;
  readonly readOnly?: boolean;
}

const HELP = [
  "",
  "Ctrl-A x   detach: the VM goes on",
  "Ctrl-A p   press the VM's power button",
  "Ctrl-A h   this help",
  "Ctrl-A Ctrl-A   send Ctrl-A",
  "",
].join("\r\n");

/** In base64 well below the longest request. */
const LARGEST_INPUT = 32 * 1024;

/** The exit status: 0 after detaching, that of the VM when it has ended. */
export async function consoleCommand(
  name: string,
  { scrollback, readOnly = false }: ConsoleFlags,
): Promise<number> {
  const manager = new Manager();
  const client = await manager.connect(name);
  const terminal = isatty(0) && isatty(1);
  const { command } = manager.store.get(name).readDefinition().definition.machine;
  // A command without a terminal ends its lines as files have it, and ours is raw.
  const bareLines = terminal && command !== undefined && command.terminal !== true;
  const session = new ConsoleSession(name, client, { terminal, readOnly, bareLines });
  const detached = await session.run(scrollback);
  if (detached !== undefined) return detached;
  const exit = await manager.wait(name);
  session.say(`${name}: ${printable(exitText(exit))}`);
  return exit.status;
}

interface SessionOptions {
  /** Ours is one. */
  readonly terminal: boolean;
  readonly readOnly: boolean;
  /** What comes has lines that end without a carriage return, and is to have one. */
  readonly bareLines: boolean;
}

class ConsoleSession {
  readonly #name: string;
  readonly #client: MonitorClient;
  readonly #terminal: boolean;
  readonly #readOnly: boolean;
  readonly #bareLines: boolean;
  #detach!: (status: number) => void;

  constructor(name: string, client: MonitorClient, { terminal, readOnly, bareLines }: SessionOptions) {
    this.#name = name;
    this.#client = client;
    this.#terminal = terminal;
    this.#readOnly = readOnly;
    this.#bareLines = bareLines;
  }

  /** Until it is left, with the exit status, or the VM ends, with undefined. */
  async run(scrollback: boolean): Promise<number | undefined> {
    const undo: (() => void)[] = [];
    const detached = new Promise<number>((resolve) => {
      this.#detach = resolve;
    });
    const client = this.#client;
    try {
      undo.push(
        onOutputFailure(() => this.#detach(0)),
        this.#connectSignals(),
      );
      client.onNotice = (notice) => this.#show(notice);
      if (this.#terminal) {
        this.say(
          `console of ${this.#name}${this.#readOnly ? ", read-only" : ""}; Ctrl-A x detaches, Ctrl-A h helps`,
        );
        undo.push(this.#connectTerminal());
      }
      await client.request("console", { scrollback, input: !this.#readOnly });
      if (!this.#terminal && !this.#readOnly) undo.push(this.#connectInput());
      if (this.#terminal && !this.#readOnly) client.send("resize", terminalSize());
      return await Promise.race([detached, client.closed.then(() => undefined)]);
    } finally {
      client.close();
      for (const step of undo.reverse()) step();
    }
  }

  say(text: string): void {
    process.stderr.write(this.#terminal ? `\r[tsvm: ${text}]\r\n` : `tsvm: ${text}\n`);
  }

  #show(notice: Notice): void {
    const stdout = standardOutput();
    if (notice.notice === "console") {
      const bytes = Buffer.from(notice.data, "base64");
      // Byte by byte the same otherwise: latin1 keeps each.
      const shown = this.#bareLines
        ? Buffer.from(bytes.toString("latin1").replaceAll(/\r?\n/g, "\r\n"), "latin1")
        : bytes;
      if (stdout.write(shown)) return;
      // While nobody reads ours we do not read either, and the monitor leaves out what is too much.
      this.#client.pause();
      stdout.once("drain", () => this.#client.resume());
    } else if (notice.notice === "lost") {
      this.say(`${notice.bytes} bytes of output were left out here: they came faster than they were read`);
    } else if (notice.state === "restarting" && notice.exit !== undefined) {
      this.say(`${this.#name}: ${printable(exitText(notice.exit))}; it is started again`);
    }
  }

  #connectTerminal(): () => void {
    const filter = new EscapeFilter({
      data: (bytes) => this.#type(bytes),
      leave: () => {
        this.say("detached");
        this.#detach(0);
      },
      powerButton: () => void this.#pressPowerButton(),
      help: () => process.stdout.write(HELP),
    });
    return useRawTerminal({
      data: (bytes) => filter.push(bytes),
      resize: (size) => {
        if (!this.#readOnly) this.#client.send("resize", size);
      },
    });
  }

  /** Its end does not end the session: what is typed may have something to say yet. */
  #connectInput(): () => void {
    const { stdin } = process;
    const onData = (bytes: Buffer): void => this.#type(bytes);
    stdin.on("data", onData).on("error", () => undefined);
    return () => {
      stdin.off("data", onData);
      // A pipe that stays open must not keep us alive.
      stdin.destroy();
    };
  }

  #type(bytes: Uint8Array): void {
    if (this.#readOnly) return;
    let room = true;
    for (let at = 0; at < bytes.length; at += LARGEST_INPUT) {
      const data = Buffer.from(bytes.subarray(at, at + LARGEST_INPUT)).toString("base64");
      room = this.#client.send("input", { data });
    }
    // A terminal goes on: its user may want to detach from a guest that takes nothing.
    if (room || this.#terminal) return;
    process.stdin.pause();
    this.#client.onceDrained(() => void process.stdin.resume());
  }

  async #pressPowerButton(): Promise<void> {
    if (this.#readOnly) return this.say("this console is read-only");
    const known = await this.#client.request("powerButton").then(
      (result) => result.known,
      () => true,
    );
    if (!known) this.say("the guest knows of no power button (no ACPI, or not yet)");
  }

  #connectSignals(): () => void {
    const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    const listeners = names.map((name) => (): void => this.#detach(signalStatus(constants.signals[name])));
    for (const [at, name] of names.entries()) process.on(name, listeners[at]!);
    return () => {
      for (const [at, name] of names.entries()) process.off(name, listeners[at]!);
    };
  }
}
