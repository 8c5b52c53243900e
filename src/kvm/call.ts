import { EINTR } from "../ffi/constants.ts";
import { SystemCallError } from "../ffi/errno.ts";
import { errno, ioctl, ioctlBuffer } from "../ffi/libc.ts";
import { ioctls, type Ioctl } from "./abi/ioctls.ts";

/** A KVM ioctl with an integer argument. A signal of the program (a timer, a profiler) that interrupts it is no failure. */
export function callInteger(
  fd: number,
  call: keyof typeof ioctls,
  argument: number,
  subject?: string,
): number {
  const { name, request } = ioctls[call];
  return retry(() => ioctl(fd, request, argument), name, subject);
}

/** A KVM ioctl with a struct. */
export function callStruct(fd: number, call: keyof typeof ioctls | Ioctl, argument: ArrayBufferView): number {
  const { name, request } = typeof call === "string" ? ioctls[call] : call;
  return retry(() => ioctlBuffer(fd, request, argument), name);
}

function retry(attempt: () => number, name: string, subject?: string): number {
  for (;;) {
    const result = attempt();
    if (result !== -1) return result;
    const error = errno();
    if (error !== EINTR) throw new SystemCallError(name, error, subject === undefined ? {} : { subject });
  }
}
