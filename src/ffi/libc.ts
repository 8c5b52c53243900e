/**
 * The C library through koffi. Every function is declared once, here, with plain integers for pointers: an address is
 * a JavaScript number (user addresses stay below 2^47), so a call allocates nothing. Functions that take a small struct
 * once per machine are declared a second time with `void *`, which accepts a typed array.
 *
 * Calls return what C returns; {@link check} turns -1 into a {@link SystemCallError}. `errno` must be read at once.
 */
import koffi, { type KoffiFunc } from "koffi";
import { SYS_io_uring_enter, SYS_io_uring_setup } from "./constants.ts";
import { SystemCallError } from "./errno.ts";

// The symbols of the running process include its C library: works with glibc and musl alike, whatever its file name.
const lib = koffi.load(null);

/** What a C parameter takes: memory by typed array, text, or any number (addresses included). */
type Argument<P> = P extends `void *${string}`
  ? ArrayBufferView
  : P extends `const char *${string}`
    ? string
    : number;
type Arguments<P extends readonly string[]> = { [K in keyof P]: Argument<P[K]> };

/** Declares `RESULT NAME(PARAMETERS)`; the TypeScript type follows from the C one. */
function declare<const P extends readonly string[]>(
  resultAndName: string,
  ...parameters: P
): (...args: Arguments<P>) => number {
  return lib.func(`${resultAndName}(${parameters.join(", ")})`) as unknown as (
    ...args: Arguments<P>
  ) => number;
}

/** ioctl(2) with an integer or address argument. Declared with a fixed prototype: on x86-64 the call is the same. */
export const ioctl = declare("int ioctl", "int fd", "unsigned long request", "uintptr_t argument");
/** The same in a thread of Node's pool. Its errno is lost. */
export async function ioctlInBackground(fd: number, request: number, argument: number): Promise<number> {
  const { async: call } = ioctl as unknown as KoffiFunc<typeof ioctl>;
  return new Promise((resolve, reject) => {
    call(fd, request, argument, (error: unknown, result: number) => {
      if (error) reject(error as Error);
      else resolve(result);
    });
  });
}
/** ioctl(2) with a struct. */
export const ioctlBuffer = declare("int ioctl", "int fd", "unsigned long request", "void *argument");
export const close = declare("int close", "int fd");
export const read = declare("int64_t read", "int fd", "uintptr_t address", "size_t length");
export const write = declare("int64_t write", "int fd", "uintptr_t address", "size_t length");
export const pread = declare(
  "int64_t pread",
  "int fd",
  "uintptr_t address",
  "size_t length",
  "int64_t offset",
);
export const pwrite = declare(
  "int64_t pwrite",
  "int fd",
  "uintptr_t address",
  "size_t length",
  "int64_t offset",
);
export const readv = declare("int64_t readv", "int fd", "uintptr_t iov", "int count");
export const writev = declare("int64_t writev", "int fd", "uintptr_t iov", "int count");
export const preadv = declare("int64_t preadv", "int fd", "uintptr_t iov", "int count", "int64_t offset");
export const pwritev = declare("int64_t pwritev", "int fd", "uintptr_t iov", "int count", "int64_t offset");
export const lseek = declare("int64_t lseek", "int fd", "int64_t offset", "int whence");
export const fdatasync = declare("int fdatasync", "int fd");
export const fallocate = declare("int fallocate", "int fd", "int mode", "int64_t offset", "int64_t length");
export const ftruncate = declare("int ftruncate", "int fd", "int64_t length");
const mmapCall = declare(
  "uintptr_t mmap",
  "uintptr_t address",
  "size_t length",
  "int protection",
  "int flags",
  "int fd",
  "int64_t offset",
);
export const munmap = declare("int munmap", "uintptr_t address", "size_t length");
export const madvise = declare("int madvise", "uintptr_t address", "size_t length", "int advice");
export const memfd_create = declare("int memfd_create", "const char *name", "unsigned int flags");
export const eventfd = declare("int eventfd", "unsigned int initial", "int flags");
export const pipe2 = declare("int pipe2", "void *fds", "int flags");
export const socket = declare("int socket", "int domain", "int type", "int protocol");
export const socketpair = declare("int socketpair", "int domain", "int type", "int protocol", "void *fds");
export const fcntl = declare("int fcntl", "int fd", "int command", "uintptr_t argument");
export const fcntlBuffer = declare("int fcntl", "int fd", "int command", "void *argument");
export const epoll_create1 = declare("int epoll_create1", "int flags");
export const epoll_ctl = declare("int epoll_ctl", "int epfd", "int operation", "int fd", "void *event");
export const epoll_wait = declare(
  "int epoll_wait",
  "int epfd",
  "uintptr_t events",
  "int count",
  "int timeoutMs",
);
/** bind(2) and connect(2); `name` is a struct sockaddr of `length` bytes. */
export const bind = declare("int bind", "int fd", "void *name", "unsigned int length");
export const connect = declare("int connect", "int fd", "void *name", "unsigned int length");
export const listen = declare("int listen", "int fd", "int backlog");
export const accept4 = declare("int accept4", "int fd", "uintptr_t name", "uintptr_t length", "int flags");
export const shutdown = declare("int shutdown", "int fd", "int how");
export const recv = declare("int64_t recv", "int fd", "uintptr_t address", "size_t length", "int flags");
/** memset(3) and memcpy(3), for memory that is known by its address. Their result is the address given. */
export const memset = declare("uintptr_t memset", "uintptr_t address", "int byte", "size_t length");
export const memcpy = declare("uintptr_t memcpy", "uintptr_t to", "uintptr_t from", "size_t length");
export const getrandom = declare(
  "int64_t getrandom",
  "uintptr_t address",
  "size_t length",
  "unsigned int flags",
);
export const sendfile = declare(
  "int64_t sendfile",
  "int outFd",
  "int inFd",
  "uintptr_t offset",
  "size_t count",
);
export const clock_gettime = declare("int clock_gettime", "int clock", "void *time");
export const pthread_sigmask = declare("int pthread_sigmask", "int how", "void *set", "uintptr_t old");
export const sigtimedwait = declare("int sigtimedwait", "void *set", "uintptr_t info", "void *timeout");
/** _exit(2): ends the process at once, without Node's tidying up. */
export const _exit = declare("void _exit", "int status");
/** syscall(2) for what older C libraries have no wrapper for. */
export const syscall = declare("long syscall", "long number", "long a", "long b", "long c");
const syscallBuffer = declare("long syscall", "long number", "long a", "void *b");
const syscall6 = declare(
  "long syscall",
  "long number",
  "long a",
  "long b",
  "long c",
  "long d",
  "long e",
  "long f",
);

/** io_uring_setup(2); `params` is a struct io_uring_params, which the kernel fills in. */
export function io_uring_setup(entries: number, params: Uint8Array): number {
  return syscallBuffer(SYS_io_uring_setup, entries, params);
}

/** io_uring_enter(2), without a signal mask. */
export function io_uring_enter(fd: number, submit: number, atLeast: number, flags: number): number {
  return syscall6(SYS_io_uring_enter, fd, submit, atLeast, flags, 0, 0);
}

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
