/** XSAVE, XSAVEOPT, XSAVEC and XSAVES. Intel SDM volume 1 sections 13.7 and 13.9 to 13.11. */
import type { AssistCpu } from "../cpu.ts";
import type { Instruction } from "../decode.ts";
import { CannotComplete, generalProtection } from "../fault.ts";
import { type GuestRange, operandAddress, translateRange } from "../memory.ts";
import { WRITE } from "../page-walk.ts";
import { MSR_IA32_XSS, RAX, RDX, privilegeLevel } from "../registers.ts";
import { requireXsave } from "./available.ts";
import { NEXT, type Outcome } from "./family.ts";
import { pair } from "./operands.ts";
import {
  AVX,
  HEADER_END,
  LEGACY_END,
  LEGACY_SIZE,
  MXCSR_INIT,
  MXCSR_OFFSET,
  SSE,
  ST_OFFSET,
  X87,
  XMM_OFFSET,
  XSTATE_BV_OFFSET,
  type XsaveLayout,
  componentSize,
  compactedOffsets,
  componentsInUse,
  standardLength,
  viewOf,
  xsaveLayout,
} from "./xsave-layout.ts";

export type XsaveVariant = "XSAVE" | "XSAVEOPT" | "XSAVEC" | "XSAVES";

const header = new Uint8Array(16);
const headerView = new DataView(header.buffer);
const legacy = new Uint8Array(LEGACY_SIZE);
const compacted = new Uint32Array(32);

export function completeXsave(cpu: AssistCpu, insn: Instruction, variant: XsaveVariant): Outcome {
  requireXsave(cpu);
  if (variant === "XSAVES" && privilegeLevel(cpu) !== 0) throw generalProtection();
  const mask = requestedMask(cpu, variant === "XSAVES");
  const layout = xsaveLayout(cpu);
  const compact = variant === "XSAVEC" || variant === "XSAVES";
  const length = compact ? compactedOffsets(layout, mask, compacted) : standardLength(layout, mask);

  const linear = operandAddress(cpu, insn, HEADER_END, WRITE);
  if ((linear & 63n) !== 0n) throw generalProtection();
  const range = translateRange(cpu, linear, length, WRITE);
  const area = cpu.getXsave();
  const view = viewOf(area);

  let inUse = componentsInUse(view);
  // The compacting instructions save SSE for the sake of MXCSR alone; the others always save MXCSR.
  if (compact && view.getUint32(MXCSR_OFFSET, true) !== MXCSR_INIT) inUse |= 1 << SSE;
  const written = variant === "XSAVE" ? mask : mask & inUse;

  saveLegacy(range, area, insn, mask, written, compact);
  const offsets = compact ? compacted : layout.offsets;
  for (let component = AVX; component < 32; component++) {
    if (((written >>> component) & 1) !== 0)
      saveComponent(range, area, layout, component, offsets[component]!, insn);
  }
  saveHeader(range, mask, inUse, compact);
  return NEXT;
}

/** The requested-feature bitmap: EDX:EAX limited to XCR0, and to IA32_XSS for XSAVES. */
export function requestedMask(cpu: AssistCpu, supervisor: boolean): number {
  const asked = pair(cpu.regs[RDX]!, cpu.regs[RAX]!);
  const enabled = cpu.xcr0();
  if (supervisor && (asked & cpu.getMsr(MSR_IA32_XSS) & ~enabled) !== 0n)
    throw new CannotComplete("KVM's XSAVE area has no supervisor state components");
  return Number(BigInt.asUintN(32, asked & enabled)) | 0;
}

function saveLegacy(
  range: GuestRange,
  area: Uint8Array,
  insn: Instruction,
  mask: number,
  written: number,
  compact: boolean,
): void {
  const sse = (written >>> SSE) & 1;
  // With either SSE or AVX asked for, the standard format has MXCSR, initial state or not.
  const mxcsr = compact ? sse : (mask & ((1 << SSE) | (1 << AVX))) !== 0 ? 1 : 0;
  const xmmEnd = insn.codeSize === 64 ? LEGACY_END : XMM_OFFSET + 8 * 16;
  if (((written >>> X87) & 1) !== 0) {
    legacy.set(area.subarray(0, XMM_OFFSET));
    if (!insn.w) narrowPointers(legacy);
    if (mxcsr !== 0 && sse !== 0) {
      legacy.set(area.subarray(XMM_OFFSET, xmmEnd), XMM_OFFSET);
      range.write(0, legacy.subarray(0, xmmEnd));
      return;
    }
    range.write(0, legacy.subarray(0, MXCSR_OFFSET));
    range.write(ST_OFFSET, legacy.subarray(ST_OFFSET, XMM_OFFSET));
  }
  if (mxcsr !== 0) range.write(MXCSR_OFFSET, area.subarray(MXCSR_OFFSET, ST_OFFSET));
  if (sse !== 0) range.write(XMM_OFFSET, area.subarray(XMM_OFFSET, xmmEnd));
}

/**
 * Without REX.W the instruction and data pointers are 32 bits and a selector. KVM's area has the 64-bit form, which
 * holds no selectors; processors that deprecate them store 0 as well.
 */
export function narrowPointers(image: Uint8Array): void {
  image.fill(0, 12, 16);
  image.fill(0, 20, 24);
}

function saveComponent(
  range: GuestRange,
  area: Uint8Array,
  layout: XsaveLayout,
  component: number,
  offset: number,
  insn: Instruction,
): void {
  const size = componentSize(layout, component, insn.codeSize);
  const from = layout.offsets[component]!;
  if (from + size <= area.length) {
    range.write(offset, area.subarray(from, from + size));
    return;
  }
  // AMX tile data lies beyond the 4096 bytes of KVM_GET_XSAVE; in its initial state it is all zeros.
  if (((componentsInUse(viewOf(area)) >>> component) & 1) !== 0)
    throw new CannotComplete(
      `state component ${component} is outside KVM's XSAVE area of ${area.length} bytes`,
    );
  range.write(offset, new Uint8Array(size));
}

function saveHeader(range: GuestRange, mask: number, inUse: number, compact: boolean): void {
  if (compact) {
    headerView.setBigUint64(0, BigInt((mask & inUse) >>> 0), true);
    headerView.setBigUint64(8, BigInt(mask >>> 0) | (1n << 63n), true);
    range.write(XSTATE_BV_OFFSET, header);
    return;
  }
  // The bits of components not asked for stay as they are in memory, and so does XCOMP_BV.
  const stateBv = header.subarray(0, 8);
  range.read(XSTATE_BV_OFFSET, stateBv);
  headerView.setUint32(0, (headerView.getUint32(0, true) & ~mask) | (mask & inUse), true);
  range.write(XSTATE_BV_OFFSET, stateBv);
}
