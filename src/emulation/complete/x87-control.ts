/** FWAIT, FNINIT, FNCLEX, FLDCW, FNSTCW, FNSTSW and EMMS. Intel SDM volume 2A, the pages of that name. */
import type { AssistCpu } from "../cpu.ts";
import { ENCODING_LEGACY, MAP_0F, MAP_ONE_BYTE, PREFIX_NONE, type Instruction } from "../decode.ts";
import { GuestFault, deviceNotAvailable, invalidOpcode } from "../fault.ts";
import { readOperand, writeOperand } from "../memory.ts";
import { CR0_EM, CR0_MP, CR0_TS, low32, writeRegister } from "../registers.ts";
import { requireX87 } from "./available.ts";
import { NEXT, NOT_HANDLED, type OpcodeEntry, type Outcome } from "./family.ts";
import {
  FCW_INIT,
  FCW_OFFSET,
  FSW_ERROR_SUMMARY,
  FSW_OFFSET,
  FTW_OFFSET,
  MXCSR_OFFSET,
  ST_OFFSET,
  X87,
  XMM_OFFSET,
  markInUse,
  normalizeX87,
  viewOf,
} from "./xsave-layout.ts";

const VECTOR_MF = 16;

/** Waiting instructions report a pending exception before they do anything. */
function checkPending(view: DataView): void {
  if ((view.getUint16(FSW_OFFSET, true) & FSW_ERROR_SUMMARY) !== 0) throw new GuestFault(VECTOR_MF);
}

function completeFwait(cpu: AssistCpu): Outcome {
  if ((low32(cpu.sregs.cr0) & (CR0_MP | CR0_TS)) === (CR0_MP | CR0_TS)) throw deviceNotAvailable();
  checkPending(viewOf(cpu.getXsave()));
  return NEXT;
}

/** Changes x87 state and stores it. */
function update(cpu: AssistCpu, change: (view: DataView, area: Uint8Array) => void): Outcome {
  const area = cpu.getXsave();
  const view = viewOf(area);
  change(view, area);
  markInUse(view, 1 << X87);
  cpu.setXsave(area);
  return NEXT;
}

/** FSW bits 13:11: which physical register is ST(0). */
function topOf(view: DataView): number {
  return (view.getUint16(FSW_OFFSET, true) >> 11) & 7;
}

/** Makes TOP 0. The image holds ST(0) to ST(7), so the registers, which stay as they are, change places in it. */
function clearTop(view: DataView, area: Uint8Array): void {
  const top = topOf(view);
  view.setUint16(FSW_OFFSET, view.getUint16(FSW_OFFSET, true) & ~0x3800, true);
  if (top === 0) return;
  const before = area.slice(ST_OFFSET, XMM_OFFSET);
  for (let register = 0; register < 8; register++) {
    const from = ((register - top) & 7) * 16;
    area.set(before.subarray(from, from + 16), ST_OFFSET + register * 16);
  }
}

/** Resets control, status and tags; the registers keep their values, marked empty. */
function completeFninit(cpu: AssistCpu): Outcome {
  return update(cpu, (view, area) => {
    clearTop(view, area);
    area.fill(0, FCW_OFFSET, MXCSR_OFFSET);
    view.setUint16(FCW_OFFSET, FCW_INIT, true);
  });
}

function completeFnclex(cpu: AssistCpu): Outcome {
  return update(cpu, (view) => {
    view.setUint16(FSW_OFFSET, view.getUint16(FSW_OFFSET, true) & 0x7f00, true);
  });
}

function completeFldcw(cpu: AssistCpu, insn: Instruction): Outcome {
  checkPending(viewOf(cpu.getXsave()));
  const control = Number(readOperand(cpu, insn, 2));
  return update(cpu, (view) => {
    view.setUint16(FCW_OFFSET, control, true);
    normalizeX87(view);
  });
}

/** D9: FLDCW is /5, FNSTCW is /7. */
function completeD9(cpu: AssistCpu, insn: Instruction): Outcome {
  if (!insn.memory || (insn.group !== 5 && insn.group !== 7)) return NOT_HANDLED;
  requireX87(cpu);
  if (insn.group === 5) return completeFldcw(cpu, insn);
  writeOperand(cpu, insn, 2, BigInt(viewOf(cpu.getXsave()).getUint16(FCW_OFFSET, true)));
  return NEXT;
}

/** DB E2 is FNCLEX, DB E3 is FNINIT. */
function completeDB(cpu: AssistCpu, insn: Instruction): Outcome {
  const modrm = (insn.mod << 6) | (insn.group << 3) | (insn.rm & 7);
  if (insn.memory || (modrm !== 0xe2 && modrm !== 0xe3)) return NOT_HANDLED;
  requireX87(cpu);
  return modrm === 0xe2 ? completeFnclex(cpu) : completeFninit(cpu);
}

/** DD /7 and DF E0 are FNSTSW to memory and to AX. */
function completeStatusStore(cpu: AssistCpu, insn: Instruction): Outcome {
  const toMemory = insn.opcode === 0xdd && insn.memory && insn.group === 7;
  const toAx = insn.opcode === 0xdf && !insn.memory && insn.group === 4 && (insn.rm & 7) === 0;
  if (!toMemory && !toAx) return NOT_HANDLED;
  requireX87(cpu);
  const status = BigInt(viewOf(cpu.getXsave()).getUint16(FSW_OFFSET, true));
  if (toMemory) writeOperand(cpu, insn, 2, status);
  else writeRegister(cpu, 0, 2, status);
  return NEXT;
}

function completeEmms(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_NONE) return NOT_HANDLED;
  if ((low32(cpu.sregs.cr0) & CR0_EM) !== 0) throw invalidOpcode();
  requireX87(cpu);
  checkPending(viewOf(cpu.getXsave()));
  return update(cpu, (view, area) => {
    clearTop(view, area);
    view.setUint8(FTW_OFFSET, 0);
  });
}

export const x87Controls: readonly OpcodeEntry[] = [
  { encoding: ENCODING_LEGACY, map: MAP_ONE_BYTE, opcodes: [0x9b], complete: completeFwait },
  { encoding: ENCODING_LEGACY, map: MAP_ONE_BYTE, opcodes: [0xd9], complete: completeD9 },
  { encoding: ENCODING_LEGACY, map: MAP_ONE_BYTE, opcodes: [0xdb], complete: completeDB },
  { encoding: ENCODING_LEGACY, map: MAP_ONE_BYTE, opcodes: [0xdd, 0xdf], complete: completeStatusStore },
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0x77], complete: completeEmms },
];
