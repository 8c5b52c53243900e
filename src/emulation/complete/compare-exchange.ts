/**
 * CMPXCHG8B and CMPXCHG16B. Intel SDM volume 2A, "CMPXCHG8B/CMPXCHG16B".
 *
 * JavaScript has atomics of at most 8 bytes. CMPXCHG16B therefore exchanges its two halves one after the other, the
 * upper one first and back again if the lower one then fails, with the machine's memory lock held. Against other
 * completions that is atomic. Guest code that another vCPU runs natively or in KVM's emulator can see the new upper
 * half beside the old lower half for well under a microsecond, and a write of its own in between is not lost: it
 * makes the exchange fail.
 */
import type { AssistCpu } from "../cpu.ts";
import type { Instruction } from "../decode.ts";
import { CannotComplete, generalProtection } from "../fault.ts";
import { type GuestRange, operandAddress, translateRange } from "../memory.ts";
import { WRITE } from "../page-walk.ts";
import { RAX, RBX, RCX, RDX, RFLAGS, ZF } from "../registers.ts";
import { NEXT, type Outcome } from "./family.ts";
import { pair } from "./operands.ts";

const bytes = new Uint8Array(16);
const view = new DataView(bytes.buffer);

export function completeCmpxchg16b(cpu: AssistCpu, insn: Instruction): Outcome {
  const linear = operandAddress(cpu, insn, 16, WRITE);
  if ((linear & 15n) !== 0n) throw generalProtection();
  const range = translateRange(cpu, linear, 16, WRITE);
  const { regs } = cpu;
  cpu.lockMemory();
  let equal = false;
  try {
    equal = exchangePair(cpu, range, regs[RAX]!, regs[RDX]!, regs[RBX]!, regs[RCX]!);
    if (!equal) range.read(0, bytes);
  } finally {
    cpu.unlockMemory();
  }
  if (equal) regs[RFLAGS] = regs[RFLAGS]! | ZF;
  else {
    regs[RFLAGS] = regs[RFLAGS]! & ~ZF;
    regs[RAX] = view.getBigUint64(0, true);
    regs[RDX] = view.getBigUint64(8, true);
  }
  return NEXT;
}

function exchangePair(
  cpu: AssistCpu,
  range: GuestRange,
  expectedLow: bigint,
  expectedHigh: bigint,
  newLow: bigint,
  newHigh: bigint,
): boolean {
  range.read(0, bytes);
  if (view.getBigUint64(0, true) !== expectedLow || view.getBigUint64(8, true) !== expectedHigh) return false;
  const gpa = range.gpa(0);
  if (cpu.compareExchangePhysical(gpa + 8, expectedHigh, newHigh) !== expectedHigh) return false;
  const exchanged = cpu.compareExchangePhysical(gpa, expectedLow, newLow) === expectedLow;
  if (!exchanged) cpu.compareExchangePhysical(gpa + 8, newHigh, expectedHigh);
  cpu.markDirty(gpa, 16);
  return exchanged;
}

export function completeCmpxchg8b(cpu: AssistCpu, insn: Instruction): Outcome {
  const linear = operandAddress(cpu, insn, 8, WRITE);
  const range = translateRange(cpu, linear, 8, WRITE);
  const { regs } = cpu;
  const expected = pair(regs[RDX]!, regs[RAX]!);
  const replacement = pair(regs[RCX]!, regs[RBX]!);
  const seen = exchange8(cpu, range, (linear & 7n) === 0n, expected, replacement);
  if (seen === expected) regs[RFLAGS] = regs[RFLAGS]! | ZF;
  else {
    regs[RFLAGS] = regs[RFLAGS]! & ~ZF;
    regs[RAX] = BigInt.asUintN(32, seen);
    regs[RDX] = seen >> 32n;
  }
  return NEXT;
}

function exchange8(
  cpu: AssistCpu,
  range: GuestRange,
  aligned: boolean,
  expected: bigint,
  replacement: bigint,
): bigint {
  if (aligned) {
    const gpa = range.gpa(0);
    const seen = cpu.compareExchangePhysical(gpa, expected, replacement);
    if (seen === undefined) throw new CannotComplete(`address 0x${gpa.toString(16)} is not RAM`);
    if (seen === expected) cpu.markDirty(gpa, 8);
    return seen;
  }
  // A split lock: atomic only against other completions.
  const word = bytes.subarray(0, 8);
  cpu.lockMemory();
  try {
    range.read(0, word);
    const seen = view.getBigUint64(0, true);
    if (seen === expected) {
      view.setBigUint64(0, replacement, true);
      range.write(0, word);
    }
    return seen;
  } finally {
    cpu.unlockMemory();
  }
}
