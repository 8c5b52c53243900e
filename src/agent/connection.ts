/** One connection to the agent: from its hello to its exit frame. */
import type { Duplex } from "node:stream";
import { Deferred } from "../deferred.ts";
import { AgentError, protocolError } from "./errors.ts";
import { FrameSplitter, type Frame } from "./frames.ts";
import type { CommandExit } from "./exit-frame.ts";
import { AGENT_VERSION, Capability, decodeAgentExit, decodeHello, FrameType } from "./protocol.ts";

/** Makes a connection to the agent's port. May throw what it likes; AgentErrors are passed on. */
export type Connector = (options: { readonly signal?: AbortSignal | undefined }) => Promise<Duplex>;

export interface OpenOptions {
  /** A bit of {@link Capability} that the request needs. */
  readonly needs: number;
  /** ms until the hello. */
  readonly timeout?: number | undefined;
  /** Gives up, or later breaks the connection. */
  readonly signal?: AbortSignal | undefined;
}

/** Of a guest in which a hundred commands run on one processor, new ones have to wait. */
const DEFAULT_TIMEOUT_MS = 120_000;

export class AgentConnection {
  readonly #socket: Duplex;
  readonly #frames: AsyncGenerator<Frame, void>;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.close();
  readonly #gone = new Deferred<void>();

  private constructor(socket: Duplex, signal: AbortSignal | undefined) {
    this.#socket = socket;
    this.#signal = signal;
    // Whoever reads or writes hears of it; nobody may be doing so now.
    socket.on("error", () => undefined);
    this.#frames = this.#read();
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Connects, sends the request, and hears the hello. Throws an AgentError, or the signal's reason. */
  static async open(connect: Connector, request: Uint8Array, options: OpenOptions): Promise<AgentConnection> {
    const { signal, timeout = DEFAULT_TIMEOUT_MS, needs } = options;
    signal?.throwIfAborted();
    const connection = new AgentConnection(await connect({ signal }), signal);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      connection.#socket.destroy();
    }, timeout);
    try {
      signal?.throwIfAborted();
      // Without waiting for the hello: that would take as long again as a command like `true`.
      connection.#socket.write(request);
      const first = await connection.#frames.next();
      if (first.done === true || first.value.type !== FrameType.Hello) throw protocolError("no hello");
      checkHello(first.value.payload, needs);
      return connection;
    } catch (error) {
      connection.close();
      if (late) {
        throw new AgentError("ERR_AGENT_TIMEOUT", `the guest's agent has not answered within ${timeout} ms`, {
          hint: "is the guest busy, paused or still booting?",
          cause: error,
        });
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves when there is room for more; also when the connection is gone, which whoever reads frames hears. */
  async send(bytes: Uint8Array): Promise<void> {
    if (this.#socket.destroyed || this.#socket.write(bytes)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off("drain", done).off("close", done);
        resolve();
      };
      this.#socket.on("drain", done).on("close", done);
    });
  }

  /** Sends without minding how much waits already; for what is short and rare, or counted otherwise. */
  post(bytes: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  /** Resolves when {@link close} was called, or the signal aborted. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** The next frame. Throws an AgentError when there is none before the exit frame, or the signal's reason. */
  async next(): Promise<Frame> {
    const result = await this.#frames.next();
    if (result.done === true) throw lost();
    return result.value;
  }

  /** Reads to the exit frame of a request that has no other frames. */
  async exit(): Promise<CommandExit> {
    for (;;) {
      const { type, payload } = await this.next();
      if (type === FrameType.Exit) return decodeAgentExit(payload);
    }
  }

  /** In the guest, a command that still runs gets SIGHUP, then SIGKILL. */
  close(): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#socket.destroy();
    this.#gone.resolve();
  }

  async *#read(): AsyncGenerator<Frame, void> {
    const splitter = new FrameSplitter();
    try {
      for await (const bytes of this.#socket as AsyncIterable<Buffer>) {
        splitter.push(bytes);
        for (let frame = splitter.next(); frame !== undefined; frame = splitter.next()) {
          if ("tooLong" in frame) throw protocolError(`a frame of ${frame.tooLong} bytes`);
          yield frame;
        }
      }
    } catch (error) {
      if (error instanceof AgentError) throw error;
      throw this.#signal?.aborted === true ? this.#signal.reason : lost(error);
    }
    throw this.#signal?.aborted === true ? this.#signal.reason : lost();
  }
}

function lost(cause?: unknown): AgentError {
  return new AgentError("ERR_AGENT_LOST", "the connection to the guest's agent was lost", {
    hint: "has the machine ended?",
    cause,
  });
}

const NAMES: Record<number, string> = {
  [Capability.Exec]: "run commands",
  [Capability.Copy]: "copy files",
  [Capability.Shutdown]: "shut the guest down",
  [Capability.SetTime]: "set the time",
};

function checkHello(payload: Buffer, needs: number): void {
  const { version, capabilities } = decodeHello(payload);
  if (version !== AGENT_VERSION) {
    const older = version < AGENT_VERSION;
    throw new AgentError(
      "ERR_AGENT_VERSION",
      `the guest's agent speaks version ${version} of the protocol, and this tsvm version ${AGENT_VERSION}`,
      { hint: older ? "renew it: tsvm image add-agent IMAGE" : "use a newer tsvm" },
    );
  }
  if ((capabilities & needs) !== needs) {
    throw new AgentError("ERR_AGENT_VERSION", `the guest's agent cannot ${NAMES[needs] ?? "do that"}`, {
      hint: "renew it: tsvm image add-agent IMAGE",
    });
  }
}
