/** FXSAVE and FXRSTOR. Intel SDM volume 2A, the pages of that name, and volume 1 section 10.5. */
import type { AssistCpu } from "../cpu.ts";
import type { Instruction } from "../decode.ts";
import { generalProtection } from "../fault.ts";
import { operandAddress, translateRange } from "../memory.ts";
import { READ, WRITE, type Access } from "../page-walk.ts";
import { requireX87 } from "./available.ts";
import { NEXT, type Outcome } from "./family.ts";
import {
  LEGACY_END,
  LEGACY_SIZE,
  MXCSR_OFFSET,
  SSE,
  X87,
  XMM_OFFSET,
  markInUse,
  mxcsrMask,
  viewOf,
} from "./xsave-layout.ts";
import { loadX87 } from "./xrstor.ts";
import { narrowPointers } from "./xsave.ts";

const image = new Uint8Array(LEGACY_SIZE);
const imageView = new DataView(image.buffer);

function operand(cpu: AssistCpu, insn: Instruction, access: Access): bigint {
  requireX87(cpu);
  const linear = operandAddress(cpu, insn, LEGACY_SIZE, access);
  if ((linear & 15n) !== 0n) throw generalProtection();
  return linear;
}

function xmmEnd(insn: Instruction): number {
  return insn.codeSize === 64 ? LEGACY_END : XMM_OFFSET + 8 * 16;
}

export function completeFxsave(cpu: AssistCpu, insn: Instruction): Outcome {
  const range = translateRange(cpu, operand(cpu, insn, WRITE), LEGACY_SIZE, WRITE);
  const end = xmmEnd(insn);
  image.set(cpu.getXsave().subarray(0, end));
  if (!insn.w) narrowPointers(image);
  range.write(0, image.subarray(0, end));
  return NEXT;
}

export function completeFxrstor(cpu: AssistCpu, insn: Instruction): Outcome {
  translateRange(cpu, operand(cpu, insn, READ), LEGACY_SIZE, READ).read(0, image);
  const area = cpu.getXsave();
  const view = viewOf(area);
  const mxcsr = imageView.getUint32(MXCSR_OFFSET, true);
  if ((mxcsr & ~mxcsrMask(view)) !== 0) throw generalProtection();
  loadX87(area, image, insn);
  area.set(image.subarray(XMM_OFFSET, xmmEnd(insn)), XMM_OFFSET);
  view.setUint32(MXCSR_OFFSET, mxcsr, true);
  markInUse(view, (1 << X87) | (1 << SSE));
  cpu.setXsave(area);
  return NEXT;
}
