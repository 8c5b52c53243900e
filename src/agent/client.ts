/** What the agent in a guest can be asked for. Each request has a connection of its own; any number may be under way. */
import { basename } from "node:path";
import { checkOneOf, checkPath } from "../arguments.ts";
import { checkAgentOptions, checkCopyFrom, checkCopyTo, checkExec, checkTime } from "./check-arguments.ts";
import { AgentConnection, type Connector } from "./connection.ts";
import { receiveTree, type CopyLimits } from "./copy-from.ts";
import { sendTree, type CopyResult } from "./copy-to.ts";
import { AgentError } from "./errors.ts";
import { encodeFrame } from "./frames.ts";
import { GuestProcess } from "./process.ts";
import {
  Capability,
  encodeExec,
  encodeGet,
  encodePut,
  encodeSetTime,
  encodeShutdown,
  FrameType,
} from "./protocol.ts";
import { treeInMemory, treeOnHost, type FilesInMemory } from "./tree-source.ts";

/** For all requests. */
export interface AgentOptions {
  /** Gives up when it is aborted: what was begun is broken off, and rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** How a command is run. */
export interface ExecOptions extends AgentOptions {
  /** Beside what the agent sets where it is missing: PATH, HOME, USER, and TERM on a terminal. */
  env?: Record<string, string> | undefined;
  /** Working directory; "/" by default. */
  cwd?: string | undefined;
  /** Name or uid, and after a colon group or gid, as in the guest's /etc/passwd and /etc/group; root by default. */
  user?: string | undefined;
  /** On a terminal of its own, of this size or of 25 rows of 80 columns. Its output is all on stdout then. */
  terminal?: boolean | { rows: number; columns: number } | undefined;
  /** `pipe` (the default): what is written to `stdin`. `none`: nothing. Or all that there is to read. */
  stdin?: "pipe" | "none" | Uint8Array | undefined;
  /** ms until the command is killed. */
  timeout?: number | undefined;
}

/** How files are copied into a guest. */
export interface CopyToOptions extends AgentOptions {
  /** Whom they belong to, as in {@link ExecOptions.user}; root by default. */
  owner?: string | undefined;
  /** Make the directories above the destination, too. */
  parents?: boolean | undefined;
  /** Copy what a symbolic link leads to that is named itself. */
  follow?: boolean | undefined;
}

/** How files are copied out of a guest. */
export interface CopyFromOptions extends AgentOptions {
  /** Copy what a symbolic link leads to that is named itself. */
  follow?: boolean | undefined;
  /** What is taken at most: the guest may send anything. */
  limits?: CopyLimits | undefined;
}

const DEFAULT_TERMINAL = { rows: 25, columns: 80 };

export class AgentClient {
  readonly #connect: Connector;

  constructor(connect: Connector) {
    this.#connect = connect;
  }

  /** Starts a command. Whether it could be started is told by {@link GuestProcess.exit}. */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<GuestProcess> {
    const { env = {}, cwd = "", user = "", terminal = false, stdin = "pipe", timeout, signal } = options;
    checkExec(argv, options);
    const size = terminal === true ? DEFAULT_TERMINAL : terminal === false ? undefined : terminal;
    const request = encodeExec({ argv, env, cwd, user, terminal: size, noStdin: stdin === "none" });
    const connection = await this.#open(request, Capability.Exec, signal);
    const process = new GuestProcess(connection, { timeout, stdin: stdin !== "none" });
    if (typeof stdin !== "string") process.stdin.end(stdin);
    return process;
  }

  /**
   * Copies a file, or a directory with all that is in it, as `docker cp` does: into `guestPath` where that is a directory, else under
   * that name. `local/.` copies what is in the directory, without its name.
   */
  async copyTo(localPath: string, guestPath: string, options: CopyToOptions = {}): Promise<CopyResult> {
    checkPath("copyTo: localPath", localPath);
    checkCopyTo("copyTo", guestPath, options);
    const contents = namesContents(localPath);
    // Its name matters where it goes into a directory: what has none is called by no other.
    const name = contents ? "contents" : basename(localPath);
    const tree = treeOnHost(localPath, name, options.follow === true || contents || localPath.endsWith("/"));
    // Before anything is sent: that it is there.
    const first = await tree.next().catch((error: unknown) => {
      throw localError(localPath, error);
    });
    return this.#put(guestPath, contents, options, prefixed(first, tree));
  }

  /** Makes these files below the directory `guestPath`, which is made where it does not exist. */
  async writeFiles(
    files: FilesInMemory,
    guestPath: string,
    options: CopyToOptions = {},
  ): Promise<CopyResult> {
    checkCopyTo("writeFiles", guestPath, options);
    return this.#put(guestPath, true, options, treeInMemory(files, "contents"));
  }

  /** As {@link copyTo}, out of the guest. Nothing is written outside `localPath`, whatever the guest sends. */
  async copyFrom(guestPath: string, localPath: string, options: CopyFromOptions = {}): Promise<CopyResult> {
    const { follow = false, limits, signal } = options;
    checkCopyFrom(guestPath, options);
    checkPath("copyFrom: localPath", localPath);
    const contents = namesContents(guestPath);
    const name = contents ? undefined : basename(guestPath);
    const connection = await this.#open(encodeGet(guestPath, follow), Capability.Copy, signal);
    try {
      return await receiveTree(connection, { path: localPath, name }, limits);
    } finally {
      connection.close();
    }
  }

  /** Has the guest shut down, or reboot. Resolves when it has begun to. */
  async shutdown(how: "poweroff" | "reboot" = "poweroff", options: AgentOptions = {}): Promise<void> {
    checkOneOf("shutdown", how, ["poweroff", "reboot"]);
    checkAgentOptions("shutdown", options);
    await this.#simple(encodeShutdown(how), Capability.Shutdown, options);
  }

  /** Sets the guest's clock; `time` in ms since 1970, that of the host by default. */
  async setTime(time?: number, options: AgentOptions = {}): Promise<void> {
    if (time !== undefined) checkTime(time);
    checkAgentOptions("setTime", options);
    await this.#simple(encodeSetTime(time ?? Date.now()), Capability.SetTime, options);
  }

  /** Resolves when the agent answers. */
  async ping(options: AgentOptions = {}): Promise<void> {
    await this.#simple(encodeFrame(FrameType.Ping), 0, options);
  }

  async #simple(request: Uint8Array, needs: number, { signal }: AgentOptions): Promise<void> {
    const connection = await this.#open(request, needs, signal);
    try {
      const exit = await connection.exit();
      if (exit.kind === "not-started")
        throw new AgentError("ERR_AGENT_REFUSED", `in the guest: ${exit.message}`, { errno: exit.errno });
      if (exit.kind === "signaled" || exit.status !== 0)
        throw new AgentError("ERR_AGENT_REFUSED", "the guest's own command for that has failed");
    } finally {
      connection.close();
    }
  }

  async #put(
    destination: string,
    contents: boolean,
    { owner = "", parents = false, signal }: CopyToOptions,
    tree: Parameters<typeof sendTree>[1],
  ): Promise<CopyResult> {
    const request = encodePut({ destination, owner, contents, parents });
    const connection = await this.#open(request, Capability.Copy, signal);
    try {
      return await sendTree(connection, tree);
    } finally {
      connection.close();
    }
  }

  async #open(request: Uint8Array, needs: number, signal: AbortSignal | undefined): Promise<AgentConnection> {
    return AgentConnection.open(this.#connect, request, { needs, signal });
  }
}

/** `.`, or a path to what is in a directory. */
function namesContents(path: string): boolean {
  return ["", ".", ".."].includes(basename(path)) || path.endsWith("/.");
}

async function* prefixed<T>(first: IteratorResult<T, unknown>, rest: AsyncIterable<T>): AsyncGenerator<T> {
  if (first.done === true) return;
  yield first.value;
  yield* rest;
}

function localError(path: string, error: unknown): AgentError {
  const { code } = error as NodeJS.ErrnoException;
  return new AgentError("ERR_AGENT_LOCAL_PATH", `${path}: ${code ?? String(error)}`, { cause: error });
}
