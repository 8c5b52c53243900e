/**
 * How a vCPU thread is called out of KVM_RUN. The thread blocks one real-time signal; KVM_SET_SIGNAL_MASK unblocks it while the guest
 * runs, so the signal makes KVM_RUN return EINTR and stays pending otherwise: there is no window in which a kick is lost, no
 * signal handler runs, and the program that uses tsvm as a library keeps its own signals.
 */
import { SIG_BLOCK, SYS_gettid, SYS_tgkill } from "../ffi/constants.ts";
import { SystemCallError } from "../ffi/errno.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
import { pthread_sigmask, sigtimedwait, syscall } from "../ffi/libc.ts";
import type { Vcpu } from "../kvm/vcpu.ts";

/** Well inside SIGRTMIN..SIGRTMAX of glibc and musl (34/35..64). */
const KICK_SIGNAL = 52;
const SIGSET_BYTES = 128;

function kickSet(): Uint8Array {
  const set = new Uint8Array(SIGSET_BYTES);
  set[(KICK_SIGNAL - 1) >> 3] = 1 << ((KICK_SIGNAL - 1) & 7);
  return set;
}

/** Prepares the calling thread and its vCPU for kicks. Returns the thread id to send them to. */
export function acceptKicks(vcpu: Vcpu): number {
  const old = allocateOldMask();
  const error = pthread_sigmask(SIG_BLOCK, kickSet(), old.address);
  if (error !== 0) throw new SystemCallError("pthread_sigmask", error);
  // One that was meant for this thread's last machine.
  consumeKick();
  const whileRunning = new Uint8Array(old.buffer, 0, 8).slice();
  whileRunning[(KICK_SIGNAL - 1) >> 3]! &= ~(1 << ((KICK_SIGNAL - 1) & 7));
  vcpu.setSignalMask(whileRunning);
  return syscall(SYS_gettid, 0, 0, 0);
}

/** Takes a pending kick off the calling thread, after KVM_RUN has returned EINTR. */
export function consumeKick(): void {
  sigtimedwait(SET, 0, NO_WAIT);
}

/** Makes the KVM_RUN of thread `tid`, the current or the next, return EINTR. */
export function kick(tid: number): void {
  syscall(SYS_tgkill, process.pid, tid, KICK_SIGNAL);
}

const SET = kickSet();
const NO_WAIT = new BigUint64Array(2);
let oldMask: ReturnType<typeof allocateNative> | undefined;

function allocateOldMask(): ReturnType<typeof allocateNative> {
  return (oldMask ??= allocateNative(SIGSET_BYTES));
}
