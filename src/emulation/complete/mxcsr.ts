/** LDMXCSR and STMXCSR, legacy and VEX-encoded. Intel SDM volumes 2A and 2B, the pages of that name. */
import type { AssistCpu } from "../cpu.ts";
import { ENCODING_VEX, MAP_0F, PREFIX_NONE, type Instruction } from "../decode.ts";
import { generalProtection } from "../fault.ts";
import { readOperand, writeOperand } from "../memory.ts";
import { requireAvx, requireSse } from "./available.ts";
import { NEXT, NOT_HANDLED, type OpcodeEntry, type Outcome } from "./family.ts";
import { MXCSR_OFFSET, SSE, markInUse, mxcsrMask, viewOf } from "./xsave-layout.ts";

function requireVectorUnit(cpu: AssistCpu, insn: Instruction): void {
  if (insn.encoding === ENCODING_VEX) requireAvx(cpu);
  else requireSse(cpu);
}

export function completeLdmxcsr(cpu: AssistCpu, insn: Instruction): Outcome {
  requireVectorUnit(cpu, insn);
  const value = Number(readOperand(cpu, insn, 4));
  const area = cpu.getXsave();
  const view = viewOf(area);
  if ((value & ~mxcsrMask(view)) !== 0) throw generalProtection();
  view.setUint32(MXCSR_OFFSET, value, true);
  markInUse(view, 1 << SSE);
  cpu.setXsave(area);
  return NEXT;
}

export function completeStmxcsr(cpu: AssistCpu, insn: Instruction): Outcome {
  requireVectorUnit(cpu, insn);
  writeOperand(cpu, insn, 4, BigInt(viewOf(cpu.getXsave()).getUint32(MXCSR_OFFSET, true)));
  return NEXT;
}

function completeVexGroup15(cpu: AssistCpu, insn: Instruction): Outcome {
  if (!insn.memory || insn.prefix !== PREFIX_NONE || insn.vectorLength !== 0) return NOT_HANDLED;
  if (insn.group === 2) return completeLdmxcsr(cpu, insn);
  return insn.group === 3 ? completeStmxcsr(cpu, insn) : NOT_HANDLED;
}

export const vexMxcsr: readonly OpcodeEntry[] = [
  { encoding: ENCODING_VEX, map: MAP_0F, opcodes: [0xae], complete: completeVexGroup15 },
];
