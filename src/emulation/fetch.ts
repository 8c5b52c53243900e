/** Gets the bytes of the instruction at CS:RIP: from the exit, and where those run out, from guest memory. */
import type { AssistCpu } from "./cpu.ts";
import { type CodeSize, type Instruction, MAX_INSTRUCTION_LENGTH, decode } from "./decode.ts";
import { CannotComplete, GuestFault } from "./fault.ts";
import { FETCH, faultErrorCode, translate } from "./page-walk.ts";
import { RFLAGS, RIP, VECTOR_PF, codeSize } from "./registers.ts";

export interface FetchedInstruction {
  insn: Instruction;
  bytes: Uint8Array;
}

/** Decodes from `bytes`, or from memory where they are too few. A fetch that faults throws the page fault. */
export function fetchInstruction(cpu: AssistCpu, bytes: Uint8Array): FetchedInstruction {
  const size = codeSize(cpu.sregs, cpu.regs[RFLAGS]!);
  if (bytes.length > 0) {
    const insn = decode(bytes, size);
    if (!insn.truncated) return { insn, bytes };
  }
  return fetchFromMemory(cpu, size);
}

function fetchFromMemory(cpu: AssistCpu, size: CodeSize): FetchedInstruction {
  const { sregs, regs } = cpu;
  const start = size === 64 ? regs[RIP]! : BigInt.asUintN(32, sregs.cs.base + regs[RIP]!);
  const bytes = new Uint8Array(MAX_INSTRUCTION_LENGTH);
  const inFirstPage = Math.min(bytes.length, 4096 - Number(start & 0xfffn));
  readCode(cpu, start, bytes.subarray(0, inFirstPage));
  const insn = decode(bytes.subarray(0, inFirstPage), size);
  if (!insn.truncated) return { insn, bytes };
  // Only now is the second page the instruction's business: an absent one must not fault a short instruction.
  const second = BigInt.asUintN(size === 64 ? 64 : 32, start + BigInt(inFirstPage));
  readCode(cpu, second, bytes.subarray(inFirstPage));
  return { insn: decode(bytes, size), bytes };
}

function readCode(cpu: AssistCpu, linear: bigint, into: Uint8Array): void {
  const gpa = translate(cpu, linear, FETCH);
  if (gpa < 0) throw new GuestFault(VECTOR_PF, faultErrorCode(gpa), linear);
  if (!cpu.readPhysical(gpa, into))
    throw new CannotComplete(`it lies at guest physical address 0x${gpa.toString(16)}, which is not RAM`);
}
