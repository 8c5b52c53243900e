/** CLAC and STAC. Intel SDM volumes 2A and 2B, the pages of that name. */
import type { AssistCpu } from "../cpu.ts";
import type { Instruction } from "../decode.ts";
import { invalidOpcode } from "../fault.ts";
import { AC, RFLAGS, privilegeLevel } from "../registers.ts";
import { repairSyscall } from "../syscall-repair.ts";
import { JUMPED, NEXT, type Outcome } from "./family.ts";

export function completeClac(cpu: AssistCpu, insn: Instruction): Outcome {
  if (privilegeLevel(cpu) !== 0) throw invalidOpcode();
  if (insn.codeSize === 64 && repairSyscall(cpu)) return JUMPED;
  cpu.regs[RFLAGS] = cpu.regs[RFLAGS]! & ~AC;
  return NEXT;
}

export function completeStac(cpu: AssistCpu): Outcome {
  if (privilegeLevel(cpu) !== 0) throw invalidOpcode();
  cpu.regs[RFLAGS] = cpu.regs[RFLAGS]! | AC;
  return NEXT;
}
