/** Unix stream sockets by file descriptor, for a thread that waits for none of them. */
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "../../../ffi/constants.ts";
import { accept4, close, connect, errno, socket } from "../../../ffi/libc.ts";

/** struct sockaddr_un of unix(7). The path has at most 107 bytes. */
export function unixAddress(path: string): Uint8Array {
  const text = Buffer.from(path);
  const address = new Uint8Array(2 + text.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(text, 2);
  return address;
}

/** A descriptor, or -1. */
export function unixSocket(): number {
  return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/** A connection to the socket at `path`, or minus the errno that says why there is none. */
export function connectUnix(path: string): number {
  const fd = unixSocket();
  if (fd < 0) return -errno();
  const address = unixAddress(path);
  // A server whose queue of connections is full counts as one that refuses: EAGAIN.
  if (connect(fd, address, address.length) === 0) return fd;
  const error = errno();
  close(fd);
  return -error;
}

/** The next connection of a listening socket, or minus an errno. */
export function acceptUnix(listenFd: number): number {
  const fd = accept4(listenFd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return fd < 0 ? -errno() : fd;
}
