/**
 * The cure for SYSCALL on a KVM that runs guest user code natively and guest kernel code in its emulator.
 *
 * There, SYSCALL from CPL 3 sets RIP, RCX and R11 but leaves CS and SS at user level, so the guest takes a page fault
 * on the fetch from IA32_LSTAR (present, user, instruction fetch: error code 0x15). The first instruction of a Linux
 * page-fault handler that such a KVM cannot emulate is CLAC, so the monitor gets to see the frame
 *
 *     RSP+0 error code   +8 RIP   +16 CS   +24 RFLAGS   +32 RSP   +40 SS
 *
 * and can put the registers where SYSCALL should have left them (Intel SDM volume 2B, "SYSCALL"): CS and SS are at
 * kernel level already, RCX and R11 are right, GS is still the user's, as the entry code expects. SS holds a null
 * selector instead of the one in IA32_STAR, as it does in any interrupt handler.
 *
 * A user program can also jump to the LSTAR address, and must then get its page fault: it would otherwise choose RCX
 * and R11 freely, where SYSCALL sets them, and could return from the "system call" with I/O privilege. What tells the
 * two apart is IF. SYSCALL has masked RFLAGS with IA32_FMASK before the fault, so where FMASK has IF (every Linux),
 * the frame has it clear; a program cannot run with interrupts off. A guest whose FMASK lacks IF gets the repair only
 * where R11 equals the saved flags and RCX points behind a SYSCALL instruction the user can execute; what is left for
 * a jump to gain is then what that SYSCALL with the same registers does.
 */
import type { AssistCpu } from "./cpu.ts";
import { FETCH, READ, type Access, type WalkOptions, translate } from "./page-walk.ts";
import {
  IF,
  MSR_LSTAR,
  MSR_SYSCALL_MASK,
  R11,
  RCX,
  RF,
  RFLAGS,
  RFLAGS_FIXED,
  RIP,
  RSP,
} from "./registers.ts";

/** Present, user, instruction fetch. */
const FETCH_FROM_KERNEL_PAGE = 0x15n;
const FRAME_SIZE = 48;
const PAGE_MASK = 0xfffn;
/** The flags SYSCALL can have seen: everything defined, without VM. */
const POSSIBLE_RFLAGS = 0x003d_7fd7n;

const frame = new Uint8Array(FRAME_SIZE);
const frameView = new DataView(frame.buffer);
const code = new Uint8Array(2);
/** At the CLAC the processor is at CPL 0 already, where SMEP and SMAP would refuse the user's page. */
const AS_USER: WalkOptions = { asUser: true };

/**
 * To be called at a CLAC at CPL 0 in 64-bit code. Returns true where the stack holds the frame of a mis-delivered
 * SYSCALL; RIP, RSP and RFLAGS are then those of the system call entry.
 */
export function repairSyscall(cpu: AssistCpu): boolean {
  const { regs } = cpu;
  const savedFlags = regs[R11]!;
  // Cheap and usually decisive: R11 holds no flags at most other CLACs.
  if ((savedFlags & ~POSSIBLE_RFLAGS) !== 0n || (savedFlags & RFLAGS_FIXED) === 0n) return false;
  if (!readQuietly(cpu, regs[RSP]!, frame)) return false;
  if (frameView.getBigUint64(0, true) !== FETCH_FROM_KERNEL_PAGE) return false;
  if ((frameView.getBigUint64(16, true) & 3n) !== 3n) return false;
  const entry = frameView.getBigUint64(8, true);
  if (entry !== cpu.getMsr(MSR_LSTAR)) return false;
  const mask = BigInt.asUintN(32, cpu.getMsr(MSR_SYSCALL_MASK));
  if (!isFromSyscall(cpu, savedFlags, frameView.getBigUint64(24, true), mask)) return false;
  regs[RIP] = entry;
  regs[RSP] = frameView.getBigUint64(32, true);
  regs[RFLAGS] = (savedFlags & ~(mask | RF)) | RFLAGS_FIXED;
  return true;
}

/** Whether the flags in the frame are those SYSCALL left, R11 being those it saved. */
function isFromSyscall(cpu: AssistCpu, savedFlags: bigint, frameFlags: bigint, mask: bigint): boolean {
  const difference = (savedFlags ^ frameFlags) & ~RF;
  if ((mask & IF) !== 0n) return (frameFlags & IF) === 0n && (difference & ~mask) === 0n;
  return difference === 0n && followsSyscall(cpu, cpu.regs[RCX]!);
}

function followsSyscall(cpu: AssistCpu, returnAddress: bigint): boolean {
  const address = BigInt.asUintN(64, returnAddress - 2n);
  // Kernel addresses have bit 63 set; the user can only have executed from its own half.
  if (address >> 63n !== 0n || !readQuietly(cpu, address, code, FETCH, AS_USER)) return false;
  return code[0] === 0x0f && code[1] === 0x05;
}

/** Reads what may not be there. */
function readQuietly(
  cpu: AssistCpu,
  linear: bigint,
  into: Uint8Array,
  access: Access = READ,
  options?: WalkOptions,
): boolean {
  const inFirstPage = Math.min(into.length, 4096 - Number(linear & PAGE_MASK));
  const first = inFirstPage === into.length ? into : into.subarray(0, inFirstPage);
  if (!readPiece(cpu, linear, first, access, options)) return false;
  if (inFirstPage === into.length) return true;
  const next = BigInt.asUintN(64, linear + BigInt(inFirstPage));
  return readPiece(cpu, next, into.subarray(inFirstPage), access, options);
}

function readPiece(
  cpu: AssistCpu,
  linear: bigint,
  into: Uint8Array,
  access: Access,
  options: WalkOptions | undefined,
): boolean {
  const gpa = translate(cpu, linear, access, options);
  return gpa >= 0 && cpu.readPhysical(gpa, into);
}
