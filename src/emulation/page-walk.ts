/**
 * Guest page tables: linear address to guest physical address with the checks and the accessed and dirty bits a
 * processor would do. Intel SDM volume 3A chapter 4: 32-bit (4.3), PAE (4.4), 4-level and 5-level paging (4.5),
 * access rights (4.6), error code (4.7), accessed and dirty flags (4.8).
 *
 * Entries are handled as two 32-bit halves: BigInt would double the cost of a walk.
 */
import type { AssistCpu } from "./cpu.ts";
import {
  AC,
  CR0_PG,
  CR0_WP,
  CR4_LA57,
  CR4_PAE,
  CR4_PKE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_NXE,
  RFLAGS,
  low32,
  privilegeLevel,
} from "./registers.ts";

export const READ = 0;
export const WRITE = 1;
export const FETCH = 2;
export type Access = typeof READ | typeof WRITE | typeof FETCH;

/** Page-fault error code bits. */
export const PF_PRESENT = 1 << 0;
export const PF_WRITE = 1 << 1;
export const PF_USER = 1 << 2;
export const PF_RESERVED = 1 << 3;
export const PF_FETCH = 1 << 4;
export const PF_PROTECTION_KEY = 1 << 5;

const PRESENT = 1 << 0;
const WRITABLE = 1 << 1;
const USER = 1 << 2;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const PAGE_SIZE_BIT = 1 << 7;
/** Bit 63, in the upper half. */
const EXECUTE_DISABLE = 1 << 31;
/** PAE page-directory-pointer entries have no access rights and these reserved bits in the low half. */
const PAE_PDPTE_RESERVED = 0x1e6;

/** How a walk that found no page tells its error code: `-1 - errorCode`. Any value below 0 is one. */
export type Translation = number;

/** The page-fault error code of a failed `translate`. */
export function faultErrorCode(translation: Translation): number {
  return -1 - translation;
}

/** Who asks: the code at the current privilege level, or the processor on its own behalf (descriptor tables). */
export interface WalkOptions {
  /** An implicit supervisor access: kernel rights at any CPL, and SMAP holds even with EFLAGS.AC set. */
  implicitSupervisor?: boolean;
  /** An access on behalf of user code, with user rights at any CPL. */
  asUser?: boolean;
}

const entryBytes = new Uint8Array(8);
const entryWords = new Uint32Array(entryBytes.buffer);
const NO_OPTIONS: WalkOptions = {};

/** How many times a walk restarts because another vCPU changed an entry under it. */
const MAX_RESTARTS = 8;

/**
 * Translates one linear address. Returns the guest physical address, or `-1 - errorCode` where the access faults
 * (see `faultErrorCode`). Sets accessed and dirty bits. A table outside RAM reads as not present.
 */
export function translate(
  cpu: AssistCpu,
  linear: bigint,
  access: Access,
  options: WalkOptions = NO_OPTIONS,
): Translation {
  if ((low32(cpu.sregs.cr0) & CR0_PG) === 0) return Number(BigInt.asUintN(32, linear));
  const low = Number(BigInt.asUintN(32, linear));
  const longMode = (low32(cpu.sregs.efer) & EFER_LMA) !== 0;
  const high = longMode ? Number(BigInt.asUintN(32, linear >> 32n)) : 0;
  for (let restart = 0; restart < MAX_RESTARTS; restart++) {
    const result = walk(cpu, low, high, access, options);
    if (!Number.isNaN(result)) return result;
  }
  // Another vCPU keeps rewriting the entry: as good as a fault, the guest will simply try again.
  return -1 - (access === WRITE ? PF_WRITE : 0);
}

/** One entry on the way to the page, kept until the rights are known. */
const pathGpa = new Float64Array(5);
const pathLow = new Uint32Array(5);
const pathHigh = new Uint32Array(5);

/** One attempt; NaN where an entry changed before its accessed or dirty bit could be set. */
function walk(cpu: AssistCpu, low: number, high: number, access: Access, options: WalkOptions): Translation {
  const { sregs } = cpu;
  const cr4 = low32(sregs.cr4);
  const efer = low32(sregs.efer);
  const longMode = (efer & EFER_LMA) !== 0;
  const pae = (cr4 & CR4_PAE) !== 0 || longMode;
  const nxe = pae && (efer & EFER_NXE) !== 0;
  const userAccess =
    options.asUser === true || (options.implicitSupervisor !== true && privilegeLevel(cpu) === 3);

  let errorCode = 0;
  if (access === WRITE) errorCode |= PF_WRITE;
  if (userAccess) errorCode |= PF_USER;
  if (access === FETCH && (nxe || (cr4 & CR4_SMEP) !== 0)) errorCode |= PF_FETCH;

  const levels = longMode ? ((cr4 & CR4_LA57) !== 0 ? 5 : 4) : pae ? 3 : 2;
  const reservedHigh = reservedHighMask(cpu) | (nxe ? 0 : EXECUTE_DISABLE);
  const cr3Low = Number(BigInt.asUintN(32, sregs.cr3));
  const cr3High = Number(BigInt.asUintN(20, sregs.cr3 >> 32n));
  // CR3 bits 11:0 are PCID or cache control; with PAE the table is 32-byte aligned.
  let table = longMode
    ? cr3High * 2 ** 32 + ((cr3Low & 0xffff_f000) >>> 0)
    : (cr3Low & (pae ? 0xffff_ffe0 : 0xffff_f000)) >>> 0;

  let rights = WRITABLE | USER;
  let executeDisable = 0;
  let depth = 0;
  for (let level = levels; ; level--) {
    const gpa = table + tableIndex(level, low, high, pae) * (pae ? 8 : 4);
    if (!readEntry(cpu, gpa, pae)) return -1 - errorCode;
    const entryLow = entryWords[0]!;
    const entryHigh = entryWords[1]!;
    if ((entryLow & PRESENT) === 0) return -1 - errorCode;
    const paePdpte = !longMode && pae && level === 3;
    if (pae && (entryHigh & (paePdpte ? reservedHigh | EXECUTE_DISABLE : reservedHigh)) !== 0)
      return -1 - (errorCode | PF_PRESENT | PF_RESERVED);
    if (paePdpte) {
      if ((entryLow & PAE_PDPTE_RESERVED) !== 0) return -1 - (errorCode | PF_PRESENT | PF_RESERVED);
      table = (entryHigh & 0xf_ffff) * 2 ** 32 + ((entryLow & 0xffff_f000) >>> 0);
      continue;
    }
    pathGpa[depth] = gpa;
    pathLow[depth] = entryLow;
    pathHigh[depth] = entryHigh;
    depth++;
    rights &= entryLow;
    executeDisable |= entryHigh & EXECUTE_DISABLE;

    const large = (entryLow & PAGE_SIZE_BIT) !== 0 && level > 1 && (pae || (cr4 & CR4_PSE) !== 0);
    if (large && (level > 3 || largePageReservedBits(level, pae, entryLow) !== 0))
      return -1 - (errorCode | PF_PRESENT | PF_RESERVED);
    if (level > 1 && !large) {
      table = (pae ? entryHigh & 0xf_ffff : 0) * 2 ** 32 + ((entryLow & 0xffff_f000) >>> 0);
      continue;
    }

    const denied = accessDenied(cpu, access, userAccess, rights, executeDisable, options, cr4);
    if (denied) return -1 - (errorCode | PF_PRESENT);
    if (
      access !== FETCH &&
      (rights & USER) !== 0 &&
      longMode &&
      (cr4 & CR4_PKE) !== 0 &&
      protectionKeyDenies(cpu, access, userAccess, (entryHigh >>> 27) & 15)
    )
      return -1 - (errorCode | PF_PRESENT | PF_PROTECTION_KEY);
    if (!setAccessedAndDirty(cpu, depth, access === WRITE, pae)) return NaN;
    return pageAddress(level, large, pae, entryLow, entryHigh, low);
  }
}

function tableIndex(level: number, low: number, high: number, pae: boolean): number {
  if (!pae) return level === 2 ? low >>> 22 : (low >>> 12) & 0x3ff;
  switch (level) {
    case 1:
      return (low >>> 12) & 0x1ff;
    case 2:
      return (low >>> 21) & 0x1ff;
    case 3:
      return ((high << 2) | (low >>> 30)) & 0x1ff;
    case 4:
      return (high >>> 7) & 0x1ff;
    default:
      return (high >>> 16) & 0x1ff;
  }
}

function readEntry(cpu: AssistCpu, gpa: number, pae: boolean): boolean {
  if (pae) return cpu.readPhysical(gpa, entryBytes);
  entryWords[1] = 0;
  return cpu.readPhysical(gpa, entryBytes.subarray(0, 4));
}

function largePageReservedBits(level: number, pae: boolean, entryLow: number): number {
  // Bits 20:13 of a 2 MiB entry, 29:13 of a 1 GiB entry; with PSE-36, bit 21 of a 4 MiB entry.
  if (!pae) return entryLow & 0x0020_0000;
  return entryLow & (level === 2 ? 0x001f_e000 : 0x3fff_e000);
}

/** Intel SDM volume 3A section 4.6.1. */
function accessDenied(
  cpu: AssistCpu,
  access: Access,
  userAccess: boolean,
  rights: number,
  executeDisable: number,
  options: WalkOptions,
  cr4: number,
): boolean {
  const userPage = (rights & USER) !== 0;
  if (access === FETCH && executeDisable !== 0) return true;
  if (userAccess) return !userPage || (access === WRITE && (rights & WRITABLE) === 0);
  if (userPage) {
    if (access === FETCH) return (cr4 & CR4_SMEP) !== 0;
    const alignmentCheck = options.implicitSupervisor !== true && (cpu.regs[RFLAGS]! & AC) !== 0n;
    if ((cr4 & CR4_SMAP) !== 0 && !alignmentCheck) return true;
  }
  return access === WRITE && (rights & WRITABLE) === 0 && (low32(cpu.sregs.cr0) & CR0_WP) !== 0;
}

/** Byte offset of PKRU in the standard XSAVE format is given by CPUID leaf 0xD, subleaf 9. */
const XSTATE_PKRU = 9;

/** Intel SDM volume 3A section 4.6.2, user-mode pages. */
function protectionKeyDenies(cpu: AssistCpu, access: Access, userAccess: boolean, key: number): boolean {
  const offset = cpu.cpuid(0xd, XSTATE_PKRU).ebx;
  const area = cpu.getXsave();
  if (offset < 576 || offset + 4 > area.length) return false;
  const pkru = new DataView(area.buffer, area.byteOffset).getUint32(offset, true);
  if (((pkru >>> (key * 2)) & 1) !== 0) return true;
  if (access !== WRITE || ((pkru >>> (key * 2 + 1)) & 1) === 0) return false;
  return userAccess || (low32(cpu.sregs.cr0) & CR0_WP) !== 0;
}

/** Sets the bits in every entry of the path; false where an entry is no longer what the walk saw. */
function setAccessedAndDirty(cpu: AssistCpu, depth: number, write: boolean, pae: boolean): boolean {
  for (let step = 0; step < depth; step++) {
    const wanted = write && step === depth - 1 ? ACCESSED | DIRTY : ACCESSED;
    const low = pathLow[step]!;
    if ((low & wanted) === wanted) continue;
    const gpa = pathGpa[step]!;
    const aligned = gpa - (gpa % 8);
    let seen = (BigInt(pathHigh[step]!) << 32n) | BigInt(low);
    let bits = BigInt(wanted);
    if (!pae) {
      // Two 4-byte entries share an 8-byte word.
      if (!cpu.readPhysical(aligned, entryBytes)) return false;
      const half = gpa === aligned ? 0 : 1;
      if (entryWords[half] !== low) return false;
      seen = (BigInt(entryWords[1]!) << 32n) | BigInt(entryWords[0]!);
      if (half === 1) bits <<= 32n;
    }
    if (cpu.compareExchangePhysical(aligned, seen, seen | bits) !== seen) return false;
    cpu.markDirty(aligned, 8);
  }
  return true;
}

function pageAddress(
  level: number,
  large: boolean,
  pae: boolean,
  entryLow: number,
  entryHigh: number,
  low: number,
): number {
  const high = pae ? (entryHigh & 0xf_ffff) * 2 ** 32 : 0;
  if (!large) return high + ((entryLow & 0xffff_f000) >>> 0) + (low & 0xfff);
  if (!pae) {
    // PSE-36: bits 20:13 of the entry are bits 39:32 of the address.
    return ((entryLow >>> 13) & 0xff) * 2 ** 32 + ((entryLow & 0xffc0_0000) >>> 0) + (low & 0x003f_ffff);
  }
  if (level === 2) return high + ((entryLow & 0xffe0_0000) >>> 0) + (low & 0x001f_ffff);
  return high + ((entryLow & 0xc000_0000) >>> 0) + (low & 0x3fff_ffff);
}

const reservedHighByCpu = new WeakMap<AssistCpu, number>();

/** The physical-address bits 51:32 that this processor does not have, as a mask for the upper half of an entry. */
function reservedHighMask(cpu: AssistCpu): number {
  const known = reservedHighByCpu.get(cpu);
  if (known !== undefined) return known;
  const reported = cpu.cpuid(0x8000_0008, 0).eax & 0xff;
  const width = reported >= 32 && reported <= 52 ? reported : 52;
  const mask = 0xf_ffff & ~(2 ** (width - 32) - 1);
  reservedHighByCpu.set(cpu, mask);
  return mask;
}
