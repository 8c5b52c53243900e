/**
 * tsvm on a pseudo-terminal, which script(1) makes: it is in every Debian. The terminal's settings before and after are
 * recorded by a shell around tsvm, as a user's shell would find them.
 */
import { spawn, execFileSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CLI } from "./paths.ts";
import { BOOT_LIMIT_MS, until } from "./tsvm.ts";

export const CTRL_A = "\x01";
export const CTRL_C = "\x03";

export interface TerminalOptions {
  readonly rows?: number;
  readonly columns?: number;
  readonly env?: Record<string, string>;
}

export interface TerminalEnd {
  /** As the shell saw it. */
  status: number;
  /** `stty -a` before and after. */
  before: string;
  after: string;
}

const SESSION = `
cd "$SESSION_DIR"
stty rows "$ROWS" cols "$COLUMNS_WANTED"
tty >tty
stty -a >before
trap : INT
sh -c 'echo $$ >pid; exec "$0" "$@"' "$@"
echo $? >status
stty -a >after
touch ended`;

export class Terminal {
  /** Everything that has come to the terminal. */
  bytes = "";
  readonly #directory: string;
  readonly #process: ChildProcess;
  #from = 0;

  constructor(args: string[], { rows = 24, columns = 80, env = {} }: TerminalOptions = {}) {
    this.#directory = mkdtempSync(join(tmpdir(), "tsvm-terminal-"));
    const command = ["sh", "-c", SESSION, "session", process.execPath, CLI, ...args].map(quote).join(" ");
    this.#process = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
      stdio: ["pipe", "pipe", "pipe"],
      env: {
        ...process.env,
        ...env,
        TERM: "vt100",
        SHELL: "/bin/sh",
        SESSION_DIR: this.#directory,
        ROWS: String(rows),
        COLUMNS_WANTED: String(columns),
      },
    });
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      stream.on("data", (bytes: Buffer) => (this.bytes += bytes.toString("utf8")));
    }
    this.#process.stdin!.on("error", () => undefined);
  }

  /** The same without carriage returns. */
  get screen(): string {
    return this.bytes.replaceAll("\r", "");
  }

  type(keys: string): void {
    this.#process.stdin!.write(keys, "latin1");
  }

  /** Waits for text on the screen behind what an earlier call has seen; the result is all up to its end. */
  async see(text: string | RegExp, limit = BOOT_LIMIT_MS): Promise<string> {
    let end = -1;
    const find = (): boolean => {
      const rest = this.screen.slice(this.#from);
      const match = typeof text === "string" ? rest.indexOf(text) : rest.search(text);
      if (match < 0) return false;
      const length = typeof text === "string" ? text.length : text.exec(rest)![0].length;
      end = this.#from + match + length;
      return true;
    };
    await until(String(text), find, { limit, detail: () => `the screen: ${JSON.stringify(this.screen)}` });
    const seen = this.screen.slice(this.#from, end);
    this.#from = end;
    return seen;
  }

  /** What a user does by dragging the window's corner. */
  resize(rows: number, columns: number): void {
    execFileSync("stty", ["-F", this.#read("tty"), "rows", String(rows), "cols", String(columns)]);
  }

  /** Of tsvm. */
  get pid(): number {
    return Number(this.#read("pid"));
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  async end(limit = BOOT_LIMIT_MS): Promise<TerminalEnd> {
    await until("the end of tsvm", () => existsSync(join(this.#directory, "ended")), {
      limit,
      detail: () => `the screen: ${JSON.stringify(this.screen)}`,
    });
    return { status: Number(this.#read("status")), before: this.#read("before"), after: this.#read("after") };
  }

  /** Ends everything, whatever state it is in. */
  async close(): Promise<void> {
    if (!existsSync(join(this.#directory, "ended")) && existsSync(join(this.#directory, "pid"))) {
      try {
        this.kill("SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const closed = new Promise((resolve) => this.#process.once("close", resolve));
      this.#process.kill("SIGKILL");
      await closed;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #read(name: string): string {
    return readFileSync(join(this.#directory, name), "utf8").trim();
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
