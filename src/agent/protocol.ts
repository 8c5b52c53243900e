/**
 * The agent's protocol (docs/agent.md): one connection per request. The agent says hello, the host sends one request frame without
 * waiting for that, then both sides send what belongs to it until the agent's exit frame.
 *
 * The guest is not trusted: whatever it sends is checked here.
 */
import { protocolError } from "./errors.ts";
import { decodeExit, type CommandExit } from "./exit-frame.ts";
import { encodeFrame, environment, strings, text, u32, u64 } from "./frames.ts";

/** The vsock port of the agent. */
export const AGENT_PORT = 29811;
export const AGENT_VERSION = 1;
/** Bytes of stdin that may be sent ahead of what the agent says was taken. */
export const STDIN_WINDOW = 64 * 1024;

/** Bits of the hello's second word. */
export const Capability = { Exec: 1, Copy: 2, Shutdown: 4, SetTime: 8 } as const;

const code = (letter: string): number => letter.charCodeAt(0);

/** Types of frames. */
export const FrameType = {
  // guest → host
  Hello: code("H"),
  Stdout: code("O"),
  Stderr: code("E"),
  StdinTaken: code("K"),
  Usage: code("U"),
  Exit: code("X"),
  Problem: code("P"),
  // host → guest
  Exec: code("x"),
  Put: code("p"),
  Get: code("g"),
  Shutdown: code("d"),
  SetTime: code("t"),
  Ping: code("i"),
  Stdin: code("I"),
  StdinEnd: code("C"),
  Signal: code("S"),
  Window: code("W"),
  TreeEnd: code("Z"),
  // both
  Entry: code("N"),
  Data: code("D"),
  FileEnd: code("F"),
  Leave: code("L"),
} as const;

export interface Hello {
  readonly version: number;
  readonly capabilities: number;
}

export function decodeHello(payload: Buffer): Hello {
  // A newer agent may have more to say.
  if (payload.length < 8) throw protocolError("a short hello");
  return { version: payload.readUInt32LE(0), capabilities: payload.readUInt32LE(4) };
}

/** What a command used, its children included that it has waited for. */
export interface CommandUsage {
  /** ms of processor time in user mode. */
  readonly user: number;
  /** ms of processor time in the kernel. */
  readonly system: number;
  /** Bytes of memory at the peak. */
  readonly memory: number;
}

export function decodeUsage(payload: Buffer): CommandUsage {
  if (payload.length !== 24) throw protocolError("a usage frame of the wrong length");
  const [user, system, memory] = [0, 8, 16].map((at) => Number(payload.readBigUInt64LE(at)));
  return { user: user! / 1000, system: system! / 1000, memory: memory! * 1024 };
}

/** Control characters of the guest's would end up on somebody's terminal. */
const CONTROL = /[\p{Cc}\u2028\u2029]/gu;

/** Bytes of a message of the guest's that somebody gets to read. */
const LONGEST_MESSAGE = 512;

export function decodeAgentExit(payload: Buffer): CommandExit {
  return decodeExit(payload, (bytes) => printable(bytes.subarray(0, LONGEST_MESSAGE)), protocolError);
}

export function decodeTaken(payload: Buffer): number {
  if (payload.length !== 4) throw protocolError("an acknowledgement of the wrong length");
  return payload.readUInt32LE(0);
}

/** Text of the guest's, fit for a message. */
export function printable(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8").replaceAll(CONTROL, "?");
}

export interface ExecRequest {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Name or uid, and `:` group or gid; "" for the agent's own. */
  readonly user: string;
  /** A new terminal of this size. */
  readonly terminal: { readonly rows: number; readonly columns: number } | undefined;
  /** Nothing to read from. */
  readonly noStdin: boolean;
}

const EXEC_TERMINAL = 1 << 0;
const EXEC_NO_STDIN = 1 << 1;

export function encodeExec({ argv, env, cwd, user, terminal, noStdin }: ExecRequest): Buffer {
  return encodeFrame(
    FrameType.Exec,
    u32((terminal === undefined ? 0 : EXEC_TERMINAL) | (noStdin ? EXEC_NO_STDIN : 0)),
    strings(argv),
    strings(environment(env)),
    text(cwd),
    text(user),
    u32(terminal?.rows ?? 0),
    u32(terminal?.columns ?? 0),
  );
}

export interface PutRequest {
  readonly destination: string;
  /** As in {@link ExecRequest.user}. */
  readonly owner: string;
  /** What is in the directory goes into a destination that exists, not the directory itself. */
  readonly contents: boolean;
  /** Make the directories above the destination, too. */
  readonly parents: boolean;
}

export function encodePut({ destination, owner, contents, parents }: PutRequest): Buffer {
  const flags = (contents ? 1 : 0) | (parents ? 2 : 0);
  return encodeFrame(FrameType.Put, u32(flags), text(destination), text(owner));
}

export function encodeGet(path: string, follow: boolean): Buffer {
  return encodeFrame(FrameType.Get, u32(follow ? 1 : 0), text(path));
}

export function encodeShutdown(how: "poweroff" | "reboot"): Buffer {
  return encodeFrame(FrameType.Shutdown, u32(how === "reboot" ? 1 : 0));
}

/** ms since 1970. */
export function encodeSetTime(time: number): Buffer {
  const seconds = Math.floor(time / 1000);
  const nanoseconds = Math.round((time - seconds * 1000) * 1e6);
  return encodeFrame(
    FrameType.SetTime,
    u64(BigInt.asUintN(64, BigInt(seconds))),
    u32(Math.min(nanoseconds, 999_999_999)),
  );
}

export function encodeSignal(signal: number): Buffer {
  return encodeFrame(FrameType.Signal, u32(signal));
}

export function encodeWindow(size: { readonly rows: number; readonly columns: number }): Buffer {
  return encodeFrame(FrameType.Window, u32(size.rows), u32(size.columns));
}
