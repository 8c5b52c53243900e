/**
 * passt (https://passt.top): a program of its own that carries a guest's frames over ordinary sockets of the host, without any
 * privilege. One process for each network; it ends with the socket that connects us.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { readSync, writeSync } from "node:fs";
import { AF_UNIX, F_SETFL, O_CLOEXEC, O_NONBLOCK, SOCK_CLOEXEC, SOCK_STREAM } from "../ffi/constants.ts";
import { check, close, fcntl, socketpair } from "../ffi/libc.ts";
import { NetError } from "./errors.ts";
import type { PortForward } from "./port-forward.ts";
import { USER_NETWORK } from "./user-network.ts";

const O_RDWR = 2;
/** For its set-up, which takes some 20 ms. */
const START_LIMIT_MS = 10_000;
const START_POLL_MS = 2;
/** Its number in the child. */
const SOCKET_IN_CHILD = 3;

export interface PasstOptions {
  /** The guest's Ethernet address. */
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly forwards: readonly PortForward[];
  /** The guest reaches the host's own loopback at the gateway's address. */
  readonly hostLoopback: boolean;
}

export interface Passt {
  /** Non-blocking; the frames as StreamLink knows them. Not to be read before {@link ready}. */
  readonly fd: number;
  /** Resolves when passt answers, with all its ports open. Rejects with a NetError. */
  readonly ready: Promise<void>;
  /** Ends passt and closes the descriptor. */
  stop(): void;
}

/** Starts passt. */
export function startPasst(options: PasstOptions): Passt {
  const fds = new Int32Array(2);
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), "socketpair");
  const [ours, theirs] = fds as unknown as [number, number];
  const child = spawn("passt", passtArguments(options), {
    stdio: ["ignore", "ignore", "pipe", theirs],
    // Ctrl-C on the terminal is for us: the guest may still want to say good-bye over the network.
    detached: true,
  });
  close(theirs);
  fcntl(ours, F_SETFL, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  let stopped = false;
  const ready = untilReady(child, ours, options.mac, () => stopped).finally(() => {
    child.unref();
    // A pipe in fact, which has it.
    (child.stderr as unknown as { unref(): void }).unref();
  });
  ready.catch(() => undefined); // of no interest to whoever has given up before
  return {
    fd: ours,
    ready,
    stop() {
      stopped = true;
      child.kill();
      close(ours);
    },
  };
}

/** @internal The command line. */
export function passtArguments({ mtu, forwards, hostLoopback }: PasstOptions): string[] {
  const { address, prefix, gateway, dns } = USER_NETWORK;
  return [
    ...["--foreground", "--quiet", "--stderr", "--fd", String(SOCKET_IN_CHILD)],
    ...["--address", address, "--netmask", String(prefix), "--gateway", gateway],
    ...["--dns", dns, "--dns-forward", dns, "--mtu", String(mtu)],
    ...(hostLoopback ? [] : ["--no-map-gw"]),
    ...forwards.flatMap(({ protocol = "tcp", address: on, hostPort, guestPort }) => [
      protocol === "tcp" ? "--tcp-ports" : "--udp-ports",
      `${on === undefined ? "" : `${on}/`}${hostPort}:${guestPort}`,
    ]),
  ];
}

/** Asks for the gateway's Ethernet address: whoever answers that is at work. */
async function untilReady(
  child: ChildProcess,
  fd: number,
  mac: Uint8Array,
  stopped: () => boolean,
): Promise<void> {
  let said = "";
  child.stderr!.setEncoding("utf8");
  child.stderr!.on("data", (text: string) => {
    if (said.length < 4096) said += text;
  });
  let failure: NetError | undefined;
  child.on("error", (error: NodeJS.ErrnoException) => {
    failure = startError(error);
  });
  // "close" rather than "exit": by then it has said why.
  child.on("close", (code, signal) => {
    failure ??= endError(said, code, signal);
  });
  const request = frame(arpRequest(mac));
  let asked = false;
  const reader = new FrameReader(fd);
  for (const end = Date.now() + START_LIMIT_MS; Date.now() < end;) {
    if (stopped()) throw new NetError("passt was stopped before it was ready");
    if (failure !== undefined) throw failure;
    try {
      asked ||= writeSync(fd, request) > 0;
      if (reader.next()?.subarray(12, 14).equals(ARP)) return;
    } catch (error) {
      // Its end is closed: wait until it has said why.
      if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, START_POLL_MS));
  }
  throw new NetError(`passt does not answer${reasons(said)}`);
}

function startError(error: NodeJS.ErrnoException): NetError {
  if (error.code === "ENOENT") {
    return new NetError(
      "the program passt, which user-mode networking needs, is not installed",
      "sudo apt-get install passt",
      error,
    );
  }
  return new NetError(`cannot start passt: ${error.message}`, undefined, error);
}

function endError(said: string, code: number | null, signal: string | null): NetError {
  const why = reasons(said);
  const end = signal === null ? `status ${code}` : signal;
  return new NetError(
    `passt gave up (${end})${why}`,
    /bind|port/i.test(why)
      ? "take another port of the host (-p), one that nobody uses; below 1024 they are for root"
      : /interface/i.test(why)
        ? "the host needs a default route: look at ip route"
        : undefined,
  );
}

/** What passt says about itself that is of no use to anybody. */
const CHATTER =
  /^(Failed to send \d+ bytes to syslog|Don't run as root.*|No external routable interface for IPv6)?$/;

function reasons(said: string): string {
  const lines = said
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => !CHATTER.test(line));
  return lines.length === 0 ? "" : `: ${lines.slice(-3).join("; ")}`;
}

const ARP = Buffer.from([0x08, 0x06]);

/** RFC 826: who has the gateway's address? */
function arpRequest(mac: Uint8Array): Buffer {
  const ip = (text: string): number[] => text.split(".").map(Number);
  return Buffer.from([
    ...[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...mac, ...ARP],
    ...[0, 1, 8, 0, 6, 4, 0, 1],
    ...[...mac, ...ip(USER_NETWORK.address), 0, 0, 0, 0, 0, 0, ...ip(USER_NETWORK.gateway)],
  ]);
}

function frame(content: Buffer): Buffer {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(content.length);
  return Buffer.concat([prefix, content]);
}

/** Reads whole frames and not a byte more: what follows is for the guest. */
class FrameReader {
  readonly #fd: number;
  #bytes = Buffer.alloc(0);

  constructor(fd: number) {
    this.#fd = fd;
  }

  next(): Buffer | undefined {
    if (!this.#reach(4)) return undefined;
    const length = 4 + this.#bytes.readUInt32BE(0);
    if (!this.#reach(length)) return undefined;
    const content = this.#bytes.subarray(4, length);
    this.#bytes = Buffer.alloc(0);
    return content;
  }

  #reach(length: number): boolean {
    if (this.#bytes.length >= length) return true;
    const more = Buffer.alloc(length - this.#bytes.length);
    try {
      const got = readSync(this.#fd, more);
      this.#bytes = Buffer.concat([this.#bytes, more.subarray(0, got)]);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EAGAIN" && code !== "ECONNRESET") throw error;
    }
    return this.#bytes.length >= length;
  }
}
