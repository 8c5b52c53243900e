/** The unix socket by which programs of the host get into the guest. */
import { fchmodSync, lstatSync, unlinkSync } from "node:fs";
import { basename, resolve } from "node:path";
import { TsvmError } from "../../../errors.ts";
import { EADDRINUSE, ECONNREFUSED } from "../../../ffi/constants.ts";
import { errnoName, SystemCallError } from "../../../ffi/errno.ts";
import { bind, check, close, errno, listen } from "../../../ffi/libc.ts";
import { usableSocketPath } from "../../../socket-path.ts";
import { connectUnix, unixAddress, unixSocket } from "./unix-socket.ts";

/** An underscore and the digits of a port. */
const LONGEST_SUFFIX = 11;
/** What is left of the kernel's 107 bytes after `/proc/self/fd/NNNNN/` and the suffix. */
const LONGEST_NAME = 76;
const BACKLOG = 128;

/** The unix socket of a vsock device cannot be made. */
export class VsockListenError extends TsvmError {
  override name = "VsockListenError";
  constructor(path: string, problem: string, hint: string, cause?: unknown) {
    super("ERR_VSOCK_LISTEN", `vsock socket ${path}: ${problem}`, { hint, cause });
  }
}

export interface VsockListener {
  /** Listening, non-blocking. */
  readonly fd: number;
  /** What the port of the host is appended to for the socket that a guest's connection goes to. Good until `close`. */
  readonly portPath: string;
  /** Removes the socket's file, unless that is another's by now. */
  remove(): void;
  /** Closes the socket, and removes its file. */
  close(): void;
}

/**
 * Makes a unix socket at `path` that only this user may connect to. What a dead server has left there is replaced; anything else
 * is a {@link VsockListenError}.
 */
export function listenVsock(path: string): VsockListener {
  const absolute = resolve(path);
  if (Buffer.byteLength(basename(absolute)) > LONGEST_NAME) {
    throw new VsockListenError(path, "the name is too long", `use at most ${LONGEST_NAME} bytes for it`);
  }
  const usable = shorten(path, absolute);
  let fd = -1;
  try {
    fd = check(unixSocket(), "socket");
    // Before bind, which takes the file's mode from here: there is no moment in which others could connect.
    fchmodSync(fd, 0o600);
    bindTo(fd, usable.path, path);
    check(listen(fd, BACKLOG), "listen", path);
    const { dev, ino } = lstatSync(absolute);
    const remove = (): void => {
      const now = lstatSync(absolute, { throwIfNoEntry: false });
      if (now !== undefined && now.dev === dev && now.ino === ino) unlinkSync(absolute);
    };
    return {
      fd,
      portPath: `${usable.path}_`,
      remove,
      close() {
        close(fd);
        remove();
        usable.close();
      },
    };
  } catch (error) {
    if (fd >= 0) close(fd);
    usable.close();
    throw error;
  }
}

function shorten(path: string, absolute: string): ReturnType<typeof usableSocketPath> {
  try {
    return usableSocketPath(absolute, LONGEST_SUFFIX);
  } catch (error) {
    throw new VsockListenError(
      path,
      (error as NodeJS.ErrnoException).code ?? String(error),
      DIRECTORY_HINT,
      error,
    );
  }
}

const DIRECTORY_HINT = "give a path in a directory that exists and that you may write to";

function bindTo(fd: number, usable: string, path: string): void {
  const address = unixAddress(usable);
  if (bind(fd, address, address.length) === 0) return;
  let error = errno();
  if (error === EADDRINUSE) {
    removeDeadSocket(usable, path);
    if (bind(fd, address, address.length) === 0) return;
    error = errno();
  }
  throw new VsockListenError(path, errnoName(error), DIRECTORY_HINT, new SystemCallError("bind", error));
}

function removeDeadSocket(usable: string, path: string): void {
  const there = lstatSync(usable, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new VsockListenError(
      path,
      "there is a file that is no socket",
      "give another path, or remove the file",
    );
  }
  const answer = connectUnix(usable);
  if (answer >= 0) close(answer);
  if (answer !== -ECONNREFUSED) {
    throw new VsockListenError(path, "another program listens there", "give each machine a path of its own");
  }
  unlinkSync(usable);
}
