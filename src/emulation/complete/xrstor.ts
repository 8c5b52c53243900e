/** XRSTOR and XRSTORS. Intel SDM volume 1 sections 13.8 and 13.12. */
import type { AssistCpu } from "../cpu.ts";
import type { Instruction } from "../decode.ts";
import { CannotComplete, generalProtection } from "../fault.ts";
import { type GuestRange, operandAddress, translateRange } from "../memory.ts";
import { READ } from "../page-walk.ts";
import { privilegeLevel } from "../registers.ts";
import { requireXsave } from "./available.ts";
import { NEXT, type Outcome } from "./family.ts";
import {
  AVX,
  FOP_OFFSET,
  FTW_OFFSET,
  HEADER_END,
  LEGACY_END,
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
  initializeComponent,
  markInUse,
  mxcsrMask,
  normalizeX87,
  standardLength,
  viewOf,
  xsaveLayout,
} from "./xsave-layout.ts";
import { narrowPointers, requestedMask } from "./xsave.ts";

const image = new Uint8Array(HEADER_END);
const imageView = new DataView(image.buffer);
const offsets = new Uint32Array(32);

/** What the header in memory says, once it is known to be valid. */
interface Source {
  range: GuestRange;
  /** Components that memory holds; the other requested ones become initial. */
  present: number;
  compact: boolean;
}

export function completeXrstor(cpu: AssistCpu, insn: Instruction, variant: "XRSTOR" | "XRSTORS"): Outcome {
  requireXsave(cpu);
  const supervisor = variant === "XRSTORS";
  if (supervisor && privilegeLevel(cpu) !== 0) throw generalProtection();
  const mask = requestedMask(cpu, supervisor);
  const layout = xsaveLayout(cpu);
  const linear = operandAddress(cpu, insn, HEADER_END, READ);
  if ((linear & 63n) !== 0n) throw generalProtection();
  const source = readSource(cpu, linear, layout, mask, supervisor);

  const area = cpu.getXsave();
  const view = viewOf(area);
  const loadsMxcsr = source.compact
    ? (mask & source.present & (1 << SSE)) !== 0
    : (mask & ((1 << SSE) | (1 << AVX))) !== 0;
  // Checked before anything is loaded.
  if (loadsMxcsr && (imageView.getUint32(MXCSR_OFFSET, true) & ~mxcsrMask(view)) !== 0)
    throw generalProtection();

  restoreLegacy(area, view, layout, insn, mask, source.present);
  for (let component = AVX; component < 32; component++) {
    if (((mask >>> component) & 1) === 0) continue;
    if (((source.present >>> component) & 1) === 0) initializeComponent(area, view, layout, component);
    else restoreComponent(area, view, layout, source.range, component, insn);
  }
  if (loadsMxcsr) view.setUint32(MXCSR_OFFSET, imageView.getUint32(MXCSR_OFFSET, true), true);
  else if (source.compact && (mask & (1 << SSE)) !== 0) view.setUint32(MXCSR_OFFSET, MXCSR_INIT, true);
  // KVM takes MXCSR only along with the state it belongs to.
  if ((mask & ((1 << SSE) | (1 << AVX))) !== 0) markInUse(view, 1 << SSE);
  cpu.setXsave(area);
  return NEXT;
}

/** Reads legacy region and header, checks the header (volume 1 section 13.8), and fills `offsets`. */
function readSource(
  cpu: AssistCpu,
  linear: bigint,
  layout: XsaveLayout,
  mask: number,
  supervisor: boolean,
): Source {
  translateRange(cpu, linear, HEADER_END, READ).read(0, image);
  const enabled = cpu.xcr0();
  const stateBv = imageView.getBigUint64(XSTATE_BV_OFFSET, true);
  const compBv = imageView.getBigUint64(XSTATE_BV_OFFSET + 8, true);
  const compact = compBv >> 63n === 1n;
  const format = BigInt.asUintN(63, compBv);
  if (!compact) {
    // XRSTORS knows only the compacted format.
    if (supervisor || compBv !== 0n || (stateBv & ~enabled) !== 0n) throw generalProtection();
    if (imageView.getBigUint64(XSTATE_BV_OFFSET + 16, true) !== 0n) throw generalProtection();
  } else {
    if ((format & ~enabled) !== 0n || (stateBv & ~format) !== 0n) throw generalProtection();
    for (let offset = XSTATE_BV_OFFSET + 16; offset < HEADER_END; offset += 8) {
      if (imageView.getBigUint64(offset, true) !== 0n) throw generalProtection();
    }
  }
  const present = Number(BigInt.asUintN(32, stateBv)) | 0;
  let length: number;
  if (compact) length = compactedOffsets(layout, Number(BigInt.asUintN(32, format)), offsets);
  else {
    offsets.set(layout.offsets);
    length = standardLength(layout, mask & present);
  }
  return { range: translateRange(cpu, linear, length, READ), present, compact };
}

function restoreLegacy(
  area: Uint8Array,
  view: DataView,
  layout: XsaveLayout,
  insn: Instruction,
  mask: number,
  present: number,
): void {
  if ((mask & (1 << X87)) !== 0) {
    if ((present & (1 << X87)) === 0) initializeComponent(area, view, layout, X87);
    else loadX87(area, image, insn);
    markInUse(view, 1 << X87);
  }
  if ((mask & (1 << SSE)) !== 0) {
    const end = insn.codeSize === 64 ? LEGACY_END : XMM_OFFSET + 8 * 16;
    if ((present & (1 << SSE)) !== 0) area.set(image.subarray(XMM_OFFSET, end), XMM_OFFSET);
    else area.fill(0, XMM_OFFSET, end);
    markInUse(view, 1 << SSE);
  }
}

/** Bytes of an x87 register; the 16-byte slots it lies in are zero behind them. */
const ST_BYTES = 10;

/** Loads x87 state from a legacy-format image (XRSTOR and FXRSTOR). What has no register behind it becomes zero. */
export function loadX87(area: Uint8Array, from: Uint8Array, insn: Instruction): void {
  area.set(from.subarray(0, MXCSR_OFFSET), 0);
  if (!insn.w) narrowPointers(area);
  for (let slot = ST_OFFSET; slot < XMM_OFFSET; slot += 16) {
    area.set(from.subarray(slot, slot + ST_BYTES), slot);
    area.fill(0, slot + ST_BYTES, slot + 16);
  }
  const view = viewOf(area);
  view.setUint8(FTW_OFFSET + 1, 0);
  view.setUint16(FOP_OFFSET, view.getUint16(FOP_OFFSET, true) & 0x7ff, true);
  normalizeX87(view);
}

function restoreComponent(
  area: Uint8Array,
  view: DataView,
  layout: XsaveLayout,
  range: GuestRange,
  component: number,
  insn: Instruction,
): void {
  const to = layout.offsets[component]!;
  const size = componentSize(layout, component, insn.codeSize);
  if (to + size > area.length)
    throw new CannotComplete(
      `state component ${component} is outside KVM's XSAVE area of ${area.length} bytes`,
    );
  range.read(offsets[component]!, area.subarray(to, to + size));
  markInUse(view, 1 << component);
}
