/**
 * Image locks that QEMU and qemu-img take and respect too: OFD locks on single bytes of the file, where byte 100 + n says
 * "I use permission n" and byte 200 + n says "nobody else may use permission n" (QEMU, docs/devel/ and block/file-posix.c).
 */
import { EAGAIN, F_OFD_GETLK, F_OFD_SETLK, F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET } from "../ffi/constants.ts";
import { errnoName } from "../ffi/errno.ts";
import { flock } from "../ffi/flock.ts";
import { errno, fcntlBuffer } from "../ffi/libc.ts";
import { DiskError } from "./errors.ts";

const PERMISSION_BASE = 100;
const FORBIDDEN_BASE = 200;
const PERM_CONSISTENT_READ = 0;
const PERM_WRITE = 1;
const PERM_RESIZE = 3;
const EACCES = 13;

/**
 * Locks the image behind `fd` for as long as it is open: readers exclude writers, writers exclude everyone.
 * Throws a DiskError where another process uses it.
 */
export function lockImage(path: string, fd: number, writable: boolean): void {
  const uses = writable ? [PERM_CONSISTENT_READ, PERM_WRITE, PERM_RESIZE] : [PERM_CONSISTENT_READ];
  const forbids = [PERM_WRITE, PERM_RESIZE];
  // Announce first, look second: two that start at once both see each other.
  for (const permission of uses) announce(path, fd, PERMISSION_BASE + permission);
  for (const permission of forbids) announce(path, fd, FORBIDDEN_BASE + permission);
  for (const permission of uses) refuseIfHeld(path, fd, FORBIDDEN_BASE + permission, writable);
  for (const permission of forbids) refuseIfHeld(path, fd, PERMISSION_BASE + permission, writable);
}

function announce(path: string, fd: number, byte: number): void {
  const request = flock.pack({ l_type: F_RDLCK, l_whence: SEEK_SET, l_start: BigInt(byte), l_len: 1n });
  if (fcntlBuffer(fd, F_OFD_SETLK, request) === 0) return;
  const error = errno();
  if (error === EAGAIN || error === EACCES) throw inUse(path, true);
  // A file system without locks (some network ones): go on, as QEMU does.
  if (errnoName(error) !== "ENOLCK" && errnoName(error) !== "EOPNOTSUPP") {
    throw new DiskError(path, `cannot lock it: ${errnoName(error)}`);
  }
}

function refuseIfHeld(path: string, fd: number, byte: number, writable: boolean): void {
  const request = flock.pack({ l_type: F_WRLCK, l_whence: SEEK_SET, l_start: BigInt(byte), l_len: 1n });
  if (fcntlBuffer(fd, F_OFD_GETLK, request) !== 0) return;
  if (flock.unpack(request).l_type !== F_UNLCK) throw inUse(path, writable);
}

function inUse(path: string, writable: boolean): DiskError {
  return new DiskError(
    path,
    `in use by another program (another tsvm or QEMU)`,
    writable ? "stop that one first, or boot a copy of the image" : "stop the one that writes to it first",
  );
}
