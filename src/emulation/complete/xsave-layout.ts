/**
 * Where state components lie in an XSAVE area. Intel SDM volume 1 section 13.4: the legacy region (x87 and SSE), the
 * header, and the extended region in the standard format (offsets from CPUID leaf 0xD) or compacted.
 */
import type { AssistCpu } from "../cpu.ts";

export const X87 = 0;
export const SSE = 1;
export const AVX = 2;
export const ZMM_HI256 = 6;
export const HI16_ZMM = 7;
export const PKRU = 9;

/** Legacy region offsets, volume 1 table 10-2. */
export const FCW_OFFSET = 0;
export const FSW_OFFSET = 2;
export const FTW_OFFSET = 4;
export const FOP_OFFSET = 6;
export const MXCSR_OFFSET = 24;
export const MXCSR_MASK_OFFSET = 28;
export const ST_OFFSET = 32;
export const XMM_OFFSET = 160;
/** FXSAVE writes nothing from here on; 464 to 511 belong to software. */
export const LEGACY_END = 416;
export const LEGACY_SIZE = 512;

/** Header offsets. */
export const XSTATE_BV_OFFSET = 512;
export const XCOMP_BV_OFFSET = 520;
export const HEADER_END = 576;

export const FCW_INIT = 0x037f;
export const MXCSR_INIT = 0x1f80;
/** What MXCSR_MASK means where it is 0. */
const MXCSR_MASK_DEFAULT = 0xffbf;

/** Components 2 to 31; all user components there are. */
const COMPONENTS = 32;

export interface XsaveLayout {
  /** Offset in the standard format, 0 where there is no such component. */
  readonly offsets: Uint32Array;
  readonly sizes: Uint32Array;
  /** 1 where the compacted format aligns the component to 64 bytes. */
  readonly aligned: Uint8Array;
  /** Bit mask of components that XCR0 may have. */
  readonly supported: number;
}

const layoutByCpu = new WeakMap<AssistCpu, XsaveLayout>();

/** The layout this processor reports. Asked for once per vCPU: CPUID leaf 0xD subleaves do not change. */
export function xsaveLayout(cpu: AssistCpu): XsaveLayout {
  const known = layoutByCpu.get(cpu);
  if (known !== undefined) return known;
  const layout = {
    offsets: new Uint32Array(COMPONENTS),
    sizes: new Uint32Array(COMPONENTS),
    aligned: new Uint8Array(COMPONENTS),
    supported: cpu.cpuid(0xd, 0).eax,
  };
  for (let component = 2; component < COMPONENTS; component++) {
    const { eax, ebx, ecx } = cpu.cpuid(0xd, component);
    if (eax === 0) continue;
    layout.sizes[component] = eax;
    layout.offsets[component] = ebx;
    layout.aligned[component] = (ecx >> 1) & 1;
  }
  layoutByCpu.set(cpu, layout);
  return layout;
}

/** Offsets of the components in `mask` for the compacted format, and the length of the whole area last. */
export function compactedOffsets(layout: XsaveLayout, mask: number, into: Uint32Array): number {
  let offset = HEADER_END;
  for (let component = 2; component < COMPONENTS; component++) {
    if (((mask >>> component) & 1) === 0) continue;
    if (layout.aligned[component] !== 0) offset = (offset + 63) & ~63;
    into[component] = offset;
    offset += layout.sizes[component]!;
  }
  return offset;
}

/** The length of a standard-format area with the components in `mask`. */
export function standardLength(layout: XsaveLayout, mask: number): number {
  let length = HEADER_END;
  for (let component = 2; component < COMPONENTS; component++) {
    if (((mask >>> component) & 1) === 0) continue;
    length = Math.max(length, layout.offsets[component]! + layout.sizes[component]!);
  }
  return length;
}

/** Bytes of a component that code of this size saves: outside 64-bit code there are 8 vector registers. */
export function componentSize(layout: XsaveLayout, component: number, codeSize: number): number {
  const size = layout.sizes[component]!;
  if (codeSize === 64) return size;
  if (component === AVX || component === ZMM_HI256) return size / 2;
  return component === HI16_ZMM ? 0 : size;
}

/** The MXCSR bits that may be set. */
export function mxcsrMask(area: DataView): number {
  return area.getUint32(MXCSR_MASK_OFFSET, true) || MXCSR_MASK_DEFAULT;
}

export function viewOf(area: Uint8Array): DataView {
  return new DataView(area.buffer, area.byteOffset, area.byteLength);
}

/** FSW: an unmasked exception is pending; the busy bit mirrors it. */
export const FSW_ERROR_SUMMARY = 1 << 7;
const FSW_BUSY = 1 << 15;
const FSW_EXCEPTIONS = 0x3f;

/**
 * What loading them does to the x87 control and status words: of the former bit 6 reads as 1, bits 7 and 15:13 as 0;
 * the latter's error summary and busy bits follow from its exceptions and their masks.
 */
export function normalizeX87(area: DataView): void {
  const control = (area.getUint16(FCW_OFFSET, true) & 0x1f7f) | 0x40;
  const status = area.getUint16(FSW_OFFSET, true) & ~(FSW_ERROR_SUMMARY | FSW_BUSY);
  const pending = (status & ~control & FSW_EXCEPTIONS) !== 0;
  area.setUint16(FCW_OFFSET, control, true);
  area.setUint16(FSW_OFFSET, pending ? status | FSW_ERROR_SUMMARY | FSW_BUSY : status, true);
}

/** The low half of XSTATE_BV of KVM's area: the components not in their initial state (XINUSE). */
export function componentsInUse(area: DataView): number {
  return area.getUint32(XSTATE_BV_OFFSET, true);
}

/** Marks components as loaded; KVM ignores what it has no bit for. */
export function markInUse(area: DataView, mask: number): void {
  area.setUint32(XSTATE_BV_OFFSET, area.getUint32(XSTATE_BV_OFFSET, true) | mask, true);
}

/**
 * Puts a component into its initial state. x87, SSE and PKRU keep their bit, with initial values in place: KVM leaves
 * MXCSR and PKRU as they were where the bit is clear.
 */
export function initializeComponent(
  area: Uint8Array,
  view: DataView,
  layout: XsaveLayout,
  component: number,
): void {
  if (component === X87) {
    area.fill(0, 0, MXCSR_OFFSET);
    area.fill(0, ST_OFFSET, XMM_OFFSET);
    view.setUint16(FCW_OFFSET, FCW_INIT, true);
  } else if (component === SSE) area.fill(0, XMM_OFFSET, LEGACY_END);
  else {
    const offset = layout.offsets[component]!;
    if (offset + layout.sizes[component]! <= area.length)
      area.fill(0, offset, offset + layout.sizes[component]!);
  }
  const bit = 1 << component;
  const inUse = componentsInUse(view);
  const explicit = component === X87 || component === SSE || component === PKRU;
  view.setUint32(XSTATE_BV_OFFSET, explicit ? inUse | bit : inUse & ~bit, true);
}
