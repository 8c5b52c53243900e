/**
 * The protocol between tsvm and its init in the guest (firmware/init, docs/guest.md). It runs over the console port
 * `tsvm.control` as frames: type (1 byte), 3 zero bytes, payload length (u32, little endian), payload.
 *
 * The guest is not trusted: a frame that is too long or of an unknown type ends the session with an error.
 */
import { decodeExit, type CommandExit } from "../agent/exit-frame.ts";
import {
  encodeFrame,
  environment,
  FrameSplitter,
  LARGEST_PAYLOAD,
  strings,
  text,
  u32,
} from "../agent/frames.ts";
import { TsvmError } from "../errors.ts";

export type { CommandExit };

export const CONTROL_PORT_NAME = "tsvm.control";
const PROTOCOL_VERSION = 1;

/** guest → host */
const HELLO = 0x48; // 'H'
const STDOUT = 0x4f; // 'O'
const STDERR = 0x45; // 'E'
const EXIT = 0x58; // 'X'
/** host → guest: start the agent; guest → host: it listens, or why it does not. */
const AGENT = 0x41; // 'A'
/** host → guest */
const RUN = 0x52; // 'R'
const STDIN = 0x49; // 'I'
const STDIN_END = 0x43; // 'C'
const SIGNAL = 0x53; // 'S'

/** Bits of the first word of a RUN frame. */
const RUN_TERMINAL = 1 << 0;
const RUN_READ_ONLY = 1 << 1;
const RUN_NO_DISK = 1 << 2;
const RUN_SHELL = 1 << 3;
const RUN_AGENT = 1 << 4;
const RUN_AGENT_LATER = 1 << 5;
const RUN_WAIT = 1 << 6;

/** tsvm's init in the guest sent what makes no sense; the machine ends. */
export class GuestProtocolError extends TsvmError {
  override name = "GuestProtocolError";
  constructor(message: string) {
    super("ERR_GUEST_PROTOCOL", `the guest's init broke the protocol: ${message}`);
  }
}

export interface RunRequest {
  /** Empty: the shell of the bundled root, or the root's own /sbin/init. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly terminal: boolean;
  /** An interactive shell on the console. */
  readonly shell: boolean;
  /** Nothing runs: init waits to be told to end. */
  readonly wait: boolean;
  /** Start the agent before the command, or keep it at hand until it is asked for. */
  readonly agent: "now" | "later" | undefined;
  /** Block device of the root, "" for none. */
  readonly root: string;
  readonly rootReadOnly: boolean;
  /** "" lets the guest try what it knows. */
  readonly rootFsType: string;
  readonly hostname: string;
}

export function encodeRun(request: RunRequest): Uint8Array {
  const flags =
    (request.terminal ? RUN_TERMINAL : 0) |
    (request.rootReadOnly ? RUN_READ_ONLY : 0) |
    (request.root === "" ? RUN_NO_DISK : 0) |
    (request.shell ? RUN_SHELL : 0) |
    (request.agent === "now" ? RUN_AGENT : 0) |
    (request.agent === "later" ? RUN_AGENT_LATER : 0) |
    (request.wait ? RUN_WAIT : 0);
  const payload = Buffer.concat([
    u32(flags),
    strings(request.argv),
    strings(environment(request.env)),
    text(request.cwd),
    text(request.root),
    text(request.rootFsType),
    text(request.hostname),
  ]);
  if (payload.length > LARGEST_PAYLOAD) {
    throw new TsvmError("ERR_DESCRIPTION", "the command and its environment are longer than 1 MiB");
  }
  return encodeFrame(RUN, payload);
}

export function encodeStdin(bytes: Uint8Array): Uint8Array {
  return encodeFrame(STDIN, bytes);
}

export function encodeStdinEnd(): Uint8Array {
  return encodeFrame(STDIN_END);
}

export function encodeSignal(signal: number): Uint8Array {
  return encodeFrame(SIGNAL, u32(signal));
}

export function encodeAgent(): Uint8Array {
  return encodeFrame(AGENT);
}

/** What {@link FrameReader} reports. */
export interface GuestEvents {
  hello(): void;
  stdout(bytes: Buffer): void;
  stderr(bytes: Buffer): void;
  exit(exit: CommandExit): void;
  /** The agent listens, or with an errno other than 0 it could not be started. */
  agent(errno: number): void;
}

/** Cuts the guest's byte stream into frames. Holds at most one incomplete frame. */
export class FrameReader {
  readonly #splitter = new FrameSplitter();
  readonly #events: GuestEvents;

  constructor(events: GuestEvents) {
    this.#events = events;
  }

  /** Throws {@link GuestProtocolError}. */
  push(bytes: Buffer): void {
    this.#splitter.push(bytes);
    // Each is taken off first: whoever hears of the frame may throw, and the next one must still be found.
    for (let frame = this.#splitter.next(); frame !== undefined; frame = this.#splitter.next()) {
      if ("tooLong" in frame) throw new GuestProtocolError(`a frame of ${frame.tooLong} bytes`);
      this.#dispatch(frame.type, frame.payload);
    }
  }

  #dispatch(type: number, payload: Buffer): void {
    switch (type) {
      case HELLO: {
        const version = payload.length >= 4 ? payload.readUInt32LE(0) : 0;
        if (version !== PROTOCOL_VERSION) throw new GuestProtocolError(`version ${version}`);
        this.#events.hello();
        return;
      }
      case STDOUT:
        this.#events.stdout(payload);
        return;
      case STDERR:
        this.#events.stderr(payload);
        return;
      case EXIT:
        this.#events.exit(
          decodeExit(
            payload,
            (bytes) => bytes.toString("utf8"),
            (complaint) => new GuestProtocolError(complaint),
          ),
        );
        return;
      case AGENT:
        if (payload.length !== 4)
          throw new GuestProtocolError("an answer about the agent of the wrong length");
        this.#events.agent(payload.readUInt32LE(0));
        return;
      default:
        throw new GuestProtocolError(`a frame of type ${type}`);
    }
  }
}
