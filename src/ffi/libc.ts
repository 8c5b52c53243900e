/**
 * The C library through koffi. Every function is declared once, here, with plain integers for pointers: an address is
 * a JavaScript number (user addresses stay below 2^47), so a call allocates nothing. Functions that take a small struct
 * once per machine are declared a second time with `void *`, which accepts a typed array.
 *
 * Calls return what C returns; {@link check} turns -1 into a {@link SystemCallError}. `errno` must be read at once.
 */
import koffi from "koffi";
import { SystemCallError } from "./errno.ts";

// The symbols of the running process include its C library: works with glibc and musl alike, whatever its file name.
const lib = koffi.load(null);

type Call<Args extends unknown[]> = (...args: Args) => number;

function declare<Args extends unknown[]>(name: string, result: string, parameters: string[]): Call<Args> {
  return lib.func(name, result, parameters) as unknown as Call<Args>;
}

/** ioctl(2) with an integer or address argument. Declared with a fixed prototype: on x86-64 the call is the same. */
export const ioctl = declare<[fd: number, request: number, argument: number]>("ioctl", "int", [
  "int",
  "unsigned long",
  "uintptr_t",
]);
/** ioctl(2) with a struct. */
export const ioctlBuffer = declare<[fd: number, request: number, argument: ArrayBufferView]>("ioctl", "int", [
  "int",
  "unsigned long",
  "void *",
]);
export const close = declare<[fd: number]>("close", "int", ["int"]);
export const read = declare<[fd: number, address: number, length: number]>("read", "int64_t", [
  "int",
  "uintptr_t",
  "size_t",
]);
export const write = declare<[fd: number, address: number, length: number]>("write", "int64_t", [
  "int",
  "uintptr_t",
  "size_t",
]);
export const pread = declare<[fd: number, address: number, length: number, offset: number]>(
  "pread",
  "int64_t",
  ["int", "uintptr_t", "size_t", "int64_t"],
);
export const pwrite = declare<[fd: number, address: number, length: number, offset: number]>(
  "pwrite",
  "int64_t",
  ["int", "uintptr_t", "size_t", "int64_t"],
);
export const readv = declare<[fd: number, iov: number, count: number]>("readv", "int64_t", [
  "int",
  "uintptr_t",
  "int",
]);
export const writev = declare<[fd: number, iov: number, count: number]>("writev", "int64_t", [
  "int",
  "uintptr_t",
  "int",
]);
export const preadv = declare<[fd: number, iov: number, count: number, offset: number]>("preadv", "int64_t", [
  "int",
  "uintptr_t",
  "int",
  "int64_t",
]);
export const pwritev = declare<[fd: number, iov: number, count: number, offset: number]>(
  "pwritev",
  "int64_t",
  ["int", "uintptr_t", "int", "int64_t"],
);
export const lseek = declare<[fd: number, offset: number, whence: number]>("lseek", "int64_t", [
  "int",
  "int64_t",
  "int",
]);
export const fdatasync = declare<[fd: number]>("fdatasync", "int", ["int"]);
export const fallocate = declare<[fd: number, mode: number, offset: number, length: number]>(
  "fallocate",
  "int",
  ["int", "int", "int64_t", "int64_t"],
);
export const ftruncate = declare<[fd: number, length: number]>("ftruncate", "int", ["int", "int64_t"]);
const mmapCall = declare<
  [address: number, length: number, protection: number, flags: number, fd: number, offset: number]
>("mmap", "uintptr_t", ["uintptr_t", "size_t", "int", "int", "int", "int64_t"]);
export const munmap = declare<[address: number, length: number]>("munmap", "int", ["uintptr_t", "size_t"]);
export const madvise = declare<[address: number, length: number, advice: number]>("madvise", "int", [
  "uintptr_t",
  "size_t",
  "int",
]);
export const memfd_create = declare<[name: string, flags: number]>("memfd_create", "int", [
  "const char *",
  "unsigned int",
]);
export const eventfd = declare<[initial: number, flags: number]>("eventfd", "int", ["unsigned int", "int"]);
export const pipe2 = declare<[fds: ArrayBufferView, flags: number]>("pipe2", "int", ["void *", "int"]);
export const fcntl = declare<[fd: number, command: number, argument: number]>("fcntl", "int", [
  "int",
  "int",
  "uintptr_t",
]);
export const fcntlBuffer = declare<[fd: number, command: number, argument: ArrayBufferView]>("fcntl", "int", [
  "int",
  "int",
  "void *",
]);
export const epoll_create1 = declare<[flags: number]>("epoll_create1", "int", ["int"]);
export const epoll_ctl = declare<[epfd: number, operation: number, fd: number, event: ArrayBufferView]>(
  "epoll_ctl",
  "int",
  ["int", "int", "int", "void *"],
);
export const epoll_wait = declare<[epfd: number, events: number, count: number, timeoutMs: number]>(
  "epoll_wait",
  "int",
  ["int", "uintptr_t", "int", "int"],
);
export const getrandom = declare<[address: number, length: number, flags: number]>("getrandom", "int64_t", [
  "uintptr_t",
  "size_t",
  "unsigned int",
]);
export const sendfile = declare<[outFd: number, inFd: number, offset: number, count: number]>(
  "sendfile",
  "int64_t",
  ["int", "int", "uintptr_t", "size_t"],
);
export const pthread_sigmask = declare<[how: number, set: ArrayBufferView, old: number]>(
  "pthread_sigmask",
  "int",
  ["int", "void *", "uintptr_t"],
);
export const sigtimedwait = declare<[set: ArrayBufferView, info: number, timeout: ArrayBufferView]>(
  "sigtimedwait",
  "int",
  ["void *", "uintptr_t", "void *"],
);
/** _exit(2): ends the process at once, without Node's tidying up. */
export const _exit = declare<[status: number]>("_exit", "void", ["int"]);
/** syscall(2) for what older C libraries have no wrapper for. */
export const syscall = declare<[number: number, a: number, b: number, c: number]>("syscall", "long", [
  "long",
  "long",
  "long",
  "long",
]);

/** mmap(2) at an address of the kernel's choice. Throws on failure. */
export function mmap(length: number, protection: number, flags: number, fd = -1, offset = 0): number {
  const address = mmapCall(0, length, protection, flags, fd, offset);
  // MAP_FAILED is the one result beyond 2^53, which koffi gives as a BigInt.
  if (!Number.isSafeInteger(address)) throw new SystemCallError("mmap", koffi.errno());
  return address;
}

/** The errno of the last failed call on this thread. */
export function errno(): number {
  return koffi.errno();
}

/** Returns `result` unless it is -1, in which case it throws what errno says of `call`. */
export function check(result: number, call: string, subject?: string): number {
  if (result === -1) {
    throw new SystemCallError(call, koffi.errno(), subject === undefined ? {} : { subject });
  }
  return result;
}

/** A zero-copy ArrayBuffer over `length` bytes of process memory. At most 4 GiB on Node 20; not transferable. */
export function view(address: number, length: number): ArrayBuffer {
  return koffi.view(BigInt(address), length);
}
