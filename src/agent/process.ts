/** A command in the guest, as a program sees it. */
import { Readable, Writable } from "node:stream";
import { checkWindowSize } from "../arguments.ts";
import { signalNumber } from "./check-arguments.ts";
import { collectWithin } from "./collect.ts";
import type { AgentConnection } from "./connection.ts";
import { AgentError, protocolError } from "./errors.ts";
import { encodeFrame, type Frame } from "./frames.ts";
import {
  decodeAgentExit,
  decodeTaken,
  decodeUsage,
  encodeSignal,
  encodeWindow,
  FrameType,
  STDIN_WINDOW,
  type CommandUsage,
} from "./protocol.ts";

/** How a command in the guest ended. */
export interface ExecExit {
  /** The exit status; undefined if a signal ended it. */
  readonly status: number | undefined;
  /** The number of the signal that ended it. */
  readonly signal: number | undefined;
  /** It was killed because its time limit was over. */
  readonly timedOut: boolean;
  readonly usage: CommandUsage;
}

/** What a command wrote, and how it ended. */
export interface ExecOutput extends ExecExit {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** For {@link GuestProcess.output}. */
export interface OutputOptions {
  /** Bytes of stdout and of stderr, each, beyond which the command is ended with an error; 64 MiB by default. */
  readonly maxBytes?: number;
}

/** As much as a pipe holds. */
const HIGH_WATER_MARK = 64 * 1024;
/** Of stdin, in one frame. */
const LARGEST_STDIN = 32 * 1024;
/** What a killed command gets until it must be gone; one in an uninterruptible wait is not. */
const KILL_GRACE_MS = 10_000;
const LARGEST_OUTPUT = 64 * 2 ** 20;
const NO_USAGE: CommandUsage = { user: 0, system: 0, memory: 0 };

/**
 * A command that runs in a guest.
 *
 * Its output must be read (or `resume()`d): while {@link stdout} or {@link stderr} is full the command waits, and does not end
 * either. {@link output} does that for those who want all of it.
 */
export class GuestProcess implements AsyncDisposable {
  /** Its standard input. Without any, or with `stdin` given, it has ended already. */
  readonly stdin: Writable;
  /** With a terminal, all of its output. */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /**
   * Resolves when the command has ended and its output was read. Rejects with an {@link AgentError} if it could not be started, or
   * the connection was lost, or with the reason of the signal.
   */
  readonly exit: Promise<ExecExit>;
  readonly #connection: AgentConnection;
  /** Bytes of stdin that the guest has not taken yet, as far as we know, and who waits for it. */
  #untaken = 0;
  #onTaken: (() => void) | undefined;
  #ended = false;
  #timedOut = false;
  #timer: NodeJS.Timeout | undefined;

  /** `timeout` in ms. */
  constructor(
    connection: AgentConnection,
    { timeout, stdin }: { timeout?: number | undefined; stdin: boolean },
  ) {
    this.#connection = connection;
    this.stdout = output();
    this.stderr = output();
    this.stdin = new Writable({
      decodeStrings: true,
      highWaterMark: HIGH_WATER_MARK,
      write: (bytes: Buffer, _encoding, done) => void this.#sendInput(bytes).then(() => done()),
      final: (done) => {
        connection.post(encodeFrame(FrameType.StdinEnd));
        done();
      },
    });
    // What is written after the command's end is nobody's affair.
    this.stdin.on("error", () => undefined);
    if (!stdin) this.stdin.destroy();
    if (timeout !== undefined) this.#timer = setTimeout(() => this.#timeOut(), timeout);
    this.exit = this.#run();
    // Whoever looks at the promise hears of a failure; nobody has to.
    this.exit.catch(() => undefined);
  }

  /** Sends a signal to the command's process group: its number or its name, SIGTERM by default. */
  kill(signal: number | NodeJS.Signals = "SIGTERM"): void {
    const number = signalNumber("kill: signal", signal);
    if (!this.#ended) this.#connection.post(encodeSignal(number));
  }

  /** Tells a command on a terminal how large that is. */
  resize(size: { readonly rows: number; readonly columns: number }): void {
    checkWindowSize("resize: size", size);
    if (!this.#ended) this.#connection.post(encodeWindow(size));
  }

  /**
   * All that the command writes, when it has ended.
   *
   * @throws AgentError, also when that is more than `maxBytes`; the command is ended then.
   */
  async output({ maxBytes = LARGEST_OUTPUT }: OutputOptions = {}): Promise<ExecOutput> {
    const tooMuch = (): never => {
      throw new AgentError("ERR_AGENT_LIMIT", `the command has written more than ${maxBytes} bytes`, {
        hint: "read its stdout and stderr as streams, or allow more (maxBytes)",
      });
    };
    try {
      const [stdout, stderr, exit] = await Promise.all([
        collectWithin(this.stdout, maxBytes, tooMuch),
        collectWithin(this.stderr, maxBytes, tooMuch),
        this.exit,
      ]);
      return { ...exit, stdout, stderr };
    } catch (error) {
      this.#connection.close();
      throw error;
    }
  }

  /** What `await using` does at the end of the block: ends a command that still runs, by SIGHUP and then SIGKILL. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close();
    await this.exit.catch(() => undefined);
  }

  async #run(): Promise<ExecExit> {
    try {
      const exit = await this.#follow();
      this.#finish(undefined);
      return exit;
    } catch (error) {
      const timedOut = this.#timedOut && error instanceof AgentError && error.code === "ERR_AGENT_LOST";
      const reason = timedOut
        ? new AgentError("ERR_AGENT_TIMEOUT", "the command's time was over, and it has not told its end", {
            cause: error,
          })
        : error;
      this.#finish(reason as Error);
      throw reason;
    }
  }

  /** Frames until the command's end. */
  async #follow(): Promise<ExecExit> {
    let usage = NO_USAGE;
    for (;;) {
      const frame = await this.#connection.next();
      switch (frame.type) {
        case FrameType.Stdout:
          await give(this.stdout, frame, this.#connection.gone);
          break;
        case FrameType.Stderr:
          await give(this.stderr, frame, this.#connection.gone);
          break;
        case FrameType.StdinTaken:
          this.#untaken -= decodeTaken(frame.payload);
          if (this.#untaken < 0) throw protocolError("more input taken than was sent");
          this.#onTaken?.();
          break;
        case FrameType.Usage:
          usage = decodeUsage(frame.payload);
          break;
        case FrameType.Exit: {
          const exit = decodeAgentExit(frame.payload);
          if (exit.kind === "not-started")
            throw new AgentError("ERR_AGENT_REFUSED", `in the guest: ${exit.message}`, { errno: exit.errno });
          return {
            status: exit.kind === "exited" ? exit.status : undefined,
            signal: exit.kind === "signaled" ? exit.signal : undefined,
            timedOut: this.#timedOut,
            usage,
          };
        }
        default:
          throw protocolError(`a frame of type ${frame.type}`);
      }
    }
  }

  /** Sends input as far as the guest takes it; resolves when all has gone, or never will. */
  async #sendInput(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#ended;) {
      const room = Math.min(STDIN_WINDOW - this.#untaken, LARGEST_STDIN, bytes.length - at);
      if (room <= 0) {
        await new Promise<void>((resolve) => {
          this.#onTaken = resolve;
        });
        continue;
      }
      this.#untaken += room;
      const part = bytes.subarray(at, at + room);
      at += room;
      await this.#connection.send(encodeFrame(FrameType.Stdin, part));
    }
  }

  #timeOut(): void {
    this.#timedOut = true;
    this.kill("SIGKILL");
    this.#timer = setTimeout(() => this.#connection.close(), KILL_GRACE_MS).unref();
  }

  #finish(error: Error | undefined): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#connection.close();
    this.#onTaken?.();
    this.stdin.destroy();
    for (const stream of [this.stdout, this.stderr]) {
      if (error === undefined) stream.push(null);
      else stream.destroy(error);
    }
  }
}

const room = new WeakMap<Readable, () => void>();

function output(): Readable {
  const goOn = (stream: Readable): void => {
    room.get(stream)?.();
    room.delete(stream);
  };
  const stream = new Readable({
    highWaterMark: HIGH_WATER_MARK,
    read() {
      goOn(this);
    },
    destroy(error, done) {
      goOn(this);
      done(error);
    },
  });
  // An error is told by `exit`, too; nobody need listen for it here.
  stream.on("error", () => undefined);
  return stream;
}

/** Resolves when the stream takes more. What nobody wants any more is dropped. */
async function give(stream: Readable, { payload }: Frame, gone: Promise<void>): Promise<void> {
  if (stream.destroyed || payload.length === 0 || stream.push(payload)) return;
  const taken = new Promise<void>((resolve) => {
    room.set(stream, resolve);
  });
  await Promise.race([taken, gone]);
}
