import { allocateNative } from "../ffi/native-buffer.ts";
import { EFD_CLOEXEC, EFD_NONBLOCK } from "../ffi/constants.ts";
import { check, eventfd, write } from "../ffi/libc.ts";

/** The eight bytes that add one to an eventfd; one copy per thread. */
const one = allocateNative(8);
new Uint32Array(one.buffer)[0] = 1;

/** Signals an eventfd. Allocates nothing; any thread may do it. */
export function ring(fd: number): void {
  write(fd, one.address, 8);
}

export function createEventFd(): number {
  return check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
}
