/**
 * Memory operands: segmentation, address arithmetic, and access by linear address. Faults come out as `GuestFault`;
 * an access is translated as a whole before its first byte is written, so a faulting instruction leaves no trace.
 */
import type { AssistCpu, Segment } from "./cpu.ts";
import { CS, DS, ES, FS, GS, SS, type Instruction } from "./decode.ts";
import { CannotComplete, GuestFault, generalProtection } from "./fault.ts";
import { type Access, READ, WRITE, type WalkOptions, faultErrorCode, translate } from "./page-walk.ts";
import { CR0_PE, CR4_LA57, KVM_INDEX_BY_NUMBER, RIP, VECTOR_PF, VECTOR_SS, low32 } from "./registers.ts";

const PAGE_SIZE = 4096;
/** The largest memory operand: an XSAVE area with AMX tiles is about 11 KiB. */
const MAX_RANGE = 4 * PAGE_SIZE;

export function segmentByNumber(cpu: AssistCpu, number: number): Segment {
  const { sregs } = cpu;
  switch (number) {
    case ES:
      return sregs.es;
    case CS:
      return sregs.cs;
    case SS:
      return sregs.ss;
    case FS:
      return sregs.fs;
    case GS:
      return sregs.gs;
    default:
      return sregs.ds;
  }
}

/** The offset of the ModRM operand inside its segment, wrapped to the address size. */
export function effectiveAddress(cpu: AssistCpu, insn: Instruction): bigint {
  let address = BigInt(insn.displacement);
  if (insn.ripRelative) address += cpu.regs[RIP]! + BigInt(insn.length);
  if (insn.base >= 0) address += cpu.regs[KVM_INDEX_BY_NUMBER[insn.base]!]!;
  if (insn.index >= 0) {
    const index = cpu.regs[KVM_INDEX_BY_NUMBER[insn.index]!]!;
    address += insn.scale === 1 ? index : index * BigInt(insn.scale);
  }
  return BigInt.asUintN(insn.addressSize * 8, address);
}

/** The segment an operand uses: the override, SS with a stack register as base, DS otherwise. */
export function operandSegment(insn: Instruction): number {
  if (insn.segmentOverride >= 0) return insn.segmentOverride;
  return insn.base === 4 || insn.base === 5 ? SS : DS;
}

/** The linear address of the ModRM operand of `length` bytes. */
export function operandAddress(cpu: AssistCpu, insn: Instruction, length: number, access: Access): bigint {
  return linearAddress(cpu, insn, operandSegment(insn), effectiveAddress(cpu, insn), length, access);
}

/** Adds the segment base and checks canonical form or limit and rights. Intel SDM volume 3A sections 3.3 and 5.3. */
export function linearAddress(
  cpu: AssistCpu,
  insn: Instruction,
  segmentNumber: number,
  offset: bigint,
  length: number,
  access: Access,
): bigint {
  if (insn.codeSize === 64) {
    const segment = segmentNumber === FS ? cpu.sregs.fs : segmentNumber === GS ? cpu.sregs.gs : undefined;
    const linear = segment === undefined ? offset : BigInt.asUintN(64, segment.base + offset);
    if (!isCanonical(cpu, linear) || !isCanonical(cpu, linear + BigInt(length - 1)))
      throw addressFault(segmentNumber);
    return linear;
  }
  const segment = segmentByNumber(cpu, segmentNumber);
  const last = offset + BigInt(length - 1);
  const expandDown = segment.s !== 0 && (segment.type & 0xc) === 0x4;
  const limit = BigInt(segment.limit);
  const outside = expandDown
    ? offset <= limit || last > (segment.db !== 0 ? 0xffff_ffffn : 0xffffn)
    : last > limit;
  if (segment.present === 0 || outside || (access === WRITE && isReadOnly(cpu, segment)))
    throw addressFault(segmentNumber);
  return BigInt.asUintN(32, segment.base + offset);
}

function isReadOnly(cpu: AssistCpu, segment: Segment): boolean {
  const codeOrReadOnly = (segment.type & 0x8) !== 0 || (segment.type & 0x2) === 0;
  return (low32(cpu.sregs.cr0) & CR0_PE) !== 0 && codeOrReadOnly;
}

function addressFault(segmentNumber: number): GuestFault {
  return segmentNumber === SS ? new GuestFault(VECTOR_SS, 0) : generalProtection();
}

export function isCanonical(cpu: AssistCpu, linear: bigint): boolean {
  const width = (low32(cpu.sregs.cr4) & CR4_LA57) !== 0 ? 57 : 48;
  return BigInt.asUintN(64, BigInt.asIntN(width, linear)) === linear;
}

/** A translated range of linear addresses: readable and writable in pieces, free of page faults. */
export class GuestRange {
  readonly length: number;
  #cpu: AssistCpu;
  #offsetInPage: number;
  /** Guest physical address of each page the range touches. */
  #pages: number[];

  constructor(cpu: AssistCpu, offsetInPage: number, length: number, pages: number[]) {
    this.#cpu = cpu;
    this.#offsetInPage = offsetInPage;
    this.length = length;
    this.#pages = pages;
  }

  /** Guest physical address of the byte at `offset`. */
  gpa(offset: number): number {
    const position = this.#offsetInPage + offset;
    return this.#pages[Math.floor(position / PAGE_SIZE)]! + (position % PAGE_SIZE);
  }

  read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length;) {
      const piece = this.#pieceLength(offset + done, into.length - done);
      const part = piece === into.length ? into : into.subarray(done, done + piece);
      const gpa = this.gpa(offset + done);
      if (!this.#cpu.readPhysical(gpa, part)) throw notRam(gpa);
      done += piece;
    }
  }

  write(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const piece = this.#pieceLength(offset + done, bytes.length - done);
      const part = piece === bytes.length ? bytes : bytes.subarray(done, done + piece);
      const gpa = this.gpa(offset + done);
      if (!this.#cpu.writePhysical(gpa, part)) throw notRam(gpa);
      this.#cpu.markDirty(gpa, piece);
      done += piece;
    }
  }

  #pieceLength(offset: number, wanted: number): number {
    return Math.min(wanted, PAGE_SIZE - ((this.#offsetInPage + offset) % PAGE_SIZE));
  }
}

function notRam(gpa: number): CannotComplete {
  return new CannotComplete(`its memory operand at guest physical address 0x${gpa.toString(16)} is not RAM`);
}

/** Translates [linear, linear + length), or throws the page fault of its first page that has one. */
export function translateRange(
  cpu: AssistCpu,
  linear: bigint,
  length: number,
  access: Access,
  options?: WalkOptions,
): GuestRange {
  if (length > MAX_RANGE) throw new CannotComplete(`its memory operand of ${length} bytes is too large`);
  const offsetInPage = Number(linear & 0xfffn);
  const pages: number[] = [];
  for (let position = 0; position < offsetInPage + length; position += PAGE_SIZE) {
    const address = position === 0 ? linear : BigInt.asUintN(64, linear + BigInt(position - offsetInPage));
    const gpa = translate(cpu, address, access, options);
    if (gpa < 0) throw new GuestFault(VECTOR_PF, faultErrorCode(gpa), address);
    pages.push(position === 0 ? gpa - offsetInPage : gpa);
  }
  return new GuestRange(cpu, offsetInPage, length, pages);
}

const scratch = new Uint8Array(64);
const scratchView = new DataView(scratch.buffer);

/** Reads `size` bytes (1, 2, 4 or 8) as an unsigned number. */
export function readLinear(cpu: AssistCpu, linear: bigint, size: number, options?: WalkOptions): bigint {
  translateRange(cpu, linear, size, READ, options).read(0, scratch.subarray(0, size));
  return loadScratch(size);
}

function loadScratch(size: number): bigint {
  if (size === 8) return scratchView.getBigUint64(0, true);
  if (size === 4) return BigInt(scratchView.getUint32(0, true));
  return BigInt(size === 2 ? scratchView.getUint16(0, true) : scratchView.getUint8(0));
}

/** Writes the low `size` bytes (1, 2, 4 or 8) of `value`. */
export function writeLinear(cpu: AssistCpu, linear: bigint, size: number, value: bigint): void {
  const range = translateRange(cpu, linear, size, WRITE);
  scratchView.setBigUint64(0, BigInt.asUintN(64, value), true);
  range.write(0, scratch.subarray(0, size));
}

/** Reads the ModRM memory operand as a number of `size` bytes. */
export function readOperand(cpu: AssistCpu, insn: Instruction, size: number): bigint {
  return readLinear(cpu, operandAddress(cpu, insn, size, READ), size);
}

/** Writes the ModRM memory operand as a number of `size` bytes. */
export function writeOperand(cpu: AssistCpu, insn: Instruction, size: number, value: bigint): void {
  writeLinear(cpu, operandAddress(cpu, insn, size, WRITE), size, value);
}

/** The translated ModRM memory operand. */
export function operandRange(cpu: AssistCpu, insn: Instruction, length: number, access: Access): GuestRange {
  return translateRange(cpu, operandAddress(cpu, insn, length, access), length, access);
}
