/** Unix sockets under any path: the kernel takes 107 bytes, directories may be deeper than that. */
import { closeSync, openSync } from "node:fs";
import { basename, dirname } from "node:path";

/** Bytes of sun_path of struct sockaddr_un, unix(7), without the NUL at its end. */
const LONGEST_SOCKET_PATH = 107;
/** O_PATH of Linux on x86-64, which Node does not name: the directory need not be readable. */
const O_PATH = 0o10000000;

export interface UsablePath {
  readonly path: string;
  /** Not before the socket is closed: a server removes its socket by this path. */
  close(): void;
}

/**
 * A path to bind or connect to that means `path` and is short enough, with `suffix` more bytes after it: one that leads through an
 * open directory.
 */
export function usableSocketPath(path: string, suffix = 0): UsablePath {
  if (Buffer.byteLength(path) + suffix <= LONGEST_SOCKET_PATH) return { path, close: () => undefined };
  const fd = openSync(dirname(path), O_PATH);
  return { path: `/proc/self/fd/${fd}/${basename(path)}`, close: () => closeSync(fd) };
}
