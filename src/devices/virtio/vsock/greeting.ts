/** The line by which a client of the unix socket says where it wants to go: `CONNECT PORT`. */
import { EAGAIN, MSG_PEEK } from "../../../ffi/constants.ts";
import { errno, read, recv } from "../../../ffi/libc.ts";
import { allocateNative } from "../../../ffi/native-buffer.ts";

const LONGEST_LINE = 32;
const NEWLINE = 0x0a;
const LARGEST_PORT = 0xffff_fffe;

/** The line is not there yet; it is none. */
export const INCOMPLETE = -1;
export const INVALID = -2;

const buffer = allocateNative(LONGEST_LINE);
const bytes = Buffer.from(buffer.buffer, 0, LONGEST_LINE);

/** Reads the line from `fd`, and nothing of what follows it. The port, {@link INCOMPLETE} or {@link INVALID}. */
export function readGreeting(fd: number): number {
  const seen = recv(fd, buffer.address, LONGEST_LINE, MSG_PEEK);
  if (seen <= 0) return seen < 0 && errno() === EAGAIN ? INCOMPLETE : INVALID;
  const end = bytes.subarray(0, seen).indexOf(NEWLINE);
  if (end < 0) return seen < LONGEST_LINE ? INCOMPLETE : INVALID;
  if (read(fd, buffer.address, end + 1) !== end + 1) return INVALID;
  const match = /^CONNECT (\d{1,10})$/.exec(bytes.toString("latin1", 0, end));
  const port = match === null ? Infinity : Number(match[1]);
  return port <= LARGEST_PORT ? port : INVALID;
}
