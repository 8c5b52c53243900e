import { EINTR } from "../ffi/constants.ts";
import { SystemCallError } from "../ffi/errno.ts";
import { errno, ioctl, ioctlBuffer, ioctlInBackground } from "../ffi/libc.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
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

/** A KVM ioctl that may take ms and can be repeated without harm, in a thread of Node's pool. */
export async function callInBackground(
  fd: number,
  call: keyof typeof ioctls,
  argument: Uint8Array,
): Promise<void> {
  const native = allocateNative(argument.length);
  new Uint8Array(native.buffer).set(argument);
  const result = await ioctlInBackground(fd, ioctls[call].request, native.address);
  // Once more, for the reason. By then the buffer has been of use to the end.
  if (result === -1) callStruct(fd, call, new Uint8Array(native.buffer, 0, argument.length));
}

function retry(attempt: () => number, name: string, subject?: string): number {
  for (;;) {
    const result = attempt();
    if (result !== -1) return result;
    const error = errno();
    if (error !== EINTR) throw new SystemCallError(name, error, subject === undefined ? {} : { subject });
  }
}
