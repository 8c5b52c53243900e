/**
 * The host's way to a port of the guest: the unix socket that the vsock device serves, and the line `CONNECT PORT` on it that is
 * answered by `OK HOSTPORT` once a program of the guest has taken the connection. The convention is Firecracker's (docs/vsock.md).
 */
import { createConnection, type Socket } from "node:net";
import { TsvmError } from "../errors.ts";
import { usableSocketPath, type UsablePath } from "../socket-path.ts";
import { Deferred } from "../deferred.ts";

/** VMADDR_PORT_ANY of linux/vm_sockets.h is no port. */
const LARGEST_PORT = 0xffff_fffe;
const DEFAULT_TIMEOUT_MS = 5000;
/** `OK 4294967295` and the end of the line. */
const LONGEST_ANSWER = 14;
const NEWLINE = 0x0a;

/**
 * Why there is no connection: `socket`, nothing serves that unix socket; `refused`, nobody in the guest takes connections at the
 * port; `timeout`; `protocol`, what serves the socket is no vsock device; `port`, there is no such port;
 * `none`, the machine has no vsock device.
 */
export type VsockConnectReason = "socket" | "refused" | "timeout" | "protocol" | "port" | "none";

const HINTS: Record<VsockConnectReason, string> = {
  socket: "is the machine running, and does it have a vsock device?",
  refused: "start a program in the guest that listens at that port",
  timeout: "is the guest up, and is its kernel built with virtio-vsock?",
  protocol: "give the path of a vsock device's socket",
  none: "give it one: vsock in its description",
  port: `a port is a whole number from 0 to ${LARGEST_PORT}`,
};

/** No connection to a vsock port of the guest. Its code is `ERR_VSOCK_` and the reason in capitals. */
export class VsockConnectError extends TsvmError {
  override name = "VsockConnectError";
  readonly reason: VsockConnectReason;
  constructor(reason: VsockConnectReason, message: string, cause?: unknown) {
    super(`ERR_VSOCK_${reason.toUpperCase()}`, message, { hint: HINTS[reason], cause });
    this.reason = reason;
  }
}

/** For `connectVsock` and `Machine.vsock`. */
export interface VsockConnectOptions {
  /** ms until the guest must have taken the connection; 5000 by default. */
  readonly timeout?: number | undefined;
  /** Gives up with the signal's reason. After the connection is made it has no effect. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects to `port` of the guest whose vsock device serves the unix socket at `path`. The stream is half-open: it ends in each
 * direction by itself, and what arrived with the answer is still to be read from it. Throws {@link VsockConnectError}.
 */
export async function connectVsock(
  path: string,
  port: number,
  { timeout = DEFAULT_TIMEOUT_MS, signal }: VsockConnectOptions = {},
): Promise<Socket> {
  if (!Number.isInteger(port) || port < 0 || port > LARGEST_PORT) {
    throw new VsockConnectError("port", `vsock port ${port}: there is no such port`);
  }
  signal?.throwIfAborted();
  const usable = openPath(path);
  const socket = createConnection({ path: usable.path, allowHalfOpen: true });
  try {
    await handshake(socket, path, port, timeout, signal);
    return socket;
  } catch (error) {
    socket.on("error", () => undefined);
    socket.destroy();
    throw error;
  } finally {
    usable.close();
  }
}

function openPath(path: string): UsablePath {
  try {
    return usableSocketPath(path);
  } catch (error) {
    throw noSocket(path, error as NodeJS.ErrnoException);
  }
}

function noSocket(path: string, error: NodeJS.ErrnoException): VsockConnectError {
  return new VsockConnectError("socket", `vsock socket ${path}: ${error.code ?? error.message}`, error);
}

async function handshake(
  socket: Socket,
  path: string,
  port: number,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  let connected = false;
  let line = Buffer.alloc(0);
  const answer = new Deferred<void>();
  const reject = (error: unknown): void => answer.reject(error);
  const refused = (cause?: unknown): void => {
    reject(
      new VsockConnectError("refused", `vsock port ${port}: the guest takes no connection there`, cause),
    );
  };
  const listeners: Record<string, (error: NodeJS.ErrnoException) => void> = {
    connect: () => {
      connected = true;
      socket.write(`CONNECT ${port}\n`);
    },
    readable: () => {
      for (let piece = read(socket); piece !== null; piece = read(socket)) {
        const end = piece.indexOf(NEWLINE);
        line = Buffer.concat([line, end < 0 ? piece : piece.subarray(0, end)]);
        if (end < 0 && line.length < LONGEST_ANSWER) continue;
        // At once: what is put back would be announced to us again.
        socket.off("readable", listeners.readable!);
        if (end >= 0 && end + 1 < piece.length) socket.unshift(piece.subarray(end + 1));
        const text = line.toString("latin1");
        if (end >= 0 && /^OK \d{1,10}$/.test(text)) answer.resolve();
        else {
          const seen = JSON.stringify(text.slice(0, LONGEST_ANSWER));
          reject(new VsockConnectError("protocol", `vsock socket ${path}: answers ${seen}`));
        }
        return;
      }
    },
    end: () => refused(),
    error: (error) => {
      if (connected) refused(error);
      else reject(noSocket(path, error));
    },
    close: () => refused(),
  };
  const timer = setTimeout(() => {
    reject(new VsockConnectError("timeout", `vsock port ${port}: no connection within ${timeout} ms`));
  }, timeout);
  const abort = (): void => reject(signal!.reason as Error);
  signal?.addEventListener("abort", abort);
  for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener);
  try {
    await answer.promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener);
  }
}

function read(socket: Socket): Buffer | null {
  return socket.read() as Buffer | null;
}
