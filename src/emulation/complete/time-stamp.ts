/** RDTSC, RDTSCP and RDPID. Intel SDM volume 2B, the pages of that name. */
import type { AssistCpu } from "../cpu.ts";
import { ENCODING_LEGACY, MAP_0F, type Instruction } from "../decode.ts";
import { generalProtection } from "../fault.ts";
import {
  CR0_PE,
  MSR_IA32_TSC,
  MSR_TSC_AUX,
  RAX,
  RCX,
  RDX,
  low32,
  privilegeLevel,
  writeRegister,
} from "../registers.ts";
import { NEXT, type OpcodeEntry, type Outcome } from "./family.ts";

const CR4_TSD = 1 << 2;

function completeRdtsc(cpu: AssistCpu): Outcome {
  const { cr0, cr4 } = cpu.sregs;
  if ((low32(cr4) & CR4_TSD) !== 0 && (low32(cr0) & CR0_PE) !== 0 && privilegeLevel(cpu) !== 0)
    throw generalProtection();
  const time = cpu.getMsr(MSR_IA32_TSC);
  cpu.regs[RAX] = BigInt.asUintN(32, time);
  cpu.regs[RDX] = time >> 32n;
  return NEXT;
}

export function completeRdtscp(cpu: AssistCpu): Outcome {
  completeRdtsc(cpu);
  cpu.regs[RCX] = BigInt.asUintN(32, cpu.getMsr(MSR_TSC_AUX));
  return NEXT;
}

export function completeRdpid(cpu: AssistCpu, insn: Instruction): Outcome {
  // The operand size is that of the mode, whatever the prefixes.
  const size = insn.codeSize === 64 ? 8 : 4;
  writeRegister(cpu, insn.rm, size, BigInt.asUintN(32, cpu.getMsr(MSR_TSC_AUX)));
  return NEXT;
}

export const timeStamps: readonly OpcodeEntry[] = [
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0x31], complete: completeRdtsc },
];
