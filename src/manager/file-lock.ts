/**
 * Two kinds of locks, fcntl(2). A monitor holds a POSIX lock, since the kernel tells everyone who its holder is, and frees it
 * whatever way the process ends. Commands hold open-file-description locks, which exclude each other within a process as well.
 */
import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import { F_GETLK, F_OFD_SETLK, F_RDLCK, F_SETLK, F_UNLCK, F_WRLCK, SEEK_SET } from "../ffi/constants.ts";
import { errnoName } from "../ffi/errno.ts";
import { flock } from "../ffi/flock.ts";
import { errno, fcntlBuffer } from "../ffi/libc.ts";
import { directoryError } from "./errors.ts";

const request = (type: number): ReturnType<typeof flock.pack> =>
  flock.pack({ l_type: type, l_whence: SEEK_SET, l_start: 0n, l_len: 0n });

export interface HeldLock {
  /** Whoever inherits it holds the lock as well: it is free when all have closed it. */
  readonly fd: number;
  release(): void;
}

/**
 * Takes the lock for the life of this process; false where another has it. The file must not be opened a second time in this
 * process: closing that one would free the lock.
 */
export function lockForLife(fd: number, path: string): boolean {
  return setLock(fd, F_SETLK, path);
}

/** Takes an existing file's lock; undefined where it is held, or where the file has been replaced or removed meanwhile. */
export function tryLock(path: string): HeldLock | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw directoryError("cannot be locked", path, error);
  }
  try {
    if (setLock(fd, F_OFD_SETLK, path) && isSameFile(fd, path)) return { fd, release: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return undefined;
}

/** Whether `fd` is still what is found under `path`. */
export function isSameFile(fd: number, path: string): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  const ours = fstatSync(fd);
  return there !== undefined && there.ino === ours.ino && there.dev === ours.dev;
}

function setLock(fd: number, command: number, path: string): boolean {
  if (fcntlBuffer(fd, command, request(F_WRLCK)) === 0) return true;
  const name = errnoName(errno());
  if (name === "EAGAIN" || name === "EACCES") return false;
  throw directoryError("cannot be locked", path, { code: name });
}

/**
 * Who holds the lock: a process id, 0 where it cannot be named (another PID namespace, or an open-file-description lock),
 * undefined if nobody. Takes nothing, so it disturbs nobody.
 */
export function lockHolder(path: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw directoryError("cannot be read", path, error);
  }
  try {
    const probe = request(F_WRLCK);
    if (fcntlBuffer(fd, F_GETLK, probe) !== 0) {
      throw directoryError("its lock cannot be looked at", path, { code: errnoName(errno()) });
    }
    const { l_type, l_pid } = flock.unpack(probe);
    if (l_type === F_UNLCK) return undefined;
    return l_type === F_RDLCK || l_pid > 0x7fff_ffff ? 0 : l_pid;
  } finally {
    closeSync(fd);
  }
}
