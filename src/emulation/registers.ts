/** Register numbers and flag bits, Intel SDM volume 1 section 3.4 and volume 3A section 2.5. */
import type { AssistCpu, SpecialRegisters } from "./cpu.ts";

/** Index into `AssistCpu.regs` by the 4-bit register number of an instruction (rax rcx rdx rbx rsp rbp rsi rdi r8…). */
export const KVM_INDEX_BY_NUMBER = Uint8Array.of(0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15);

/** Indices into `AssistCpu.regs`. */
export const RAX = 0;
export const RBX = 1;
export const RCX = 2;
export const RDX = 3;
export const RSP = 6;
export const R11 = 11;
export const RIP = 16;
export const RFLAGS = 17;

export const CF = 1n << 0n;
export const RFLAGS_FIXED = 1n << 1n;
export const PF = 1n << 2n;
export const AF = 1n << 4n;
export const ZF = 1n << 6n;
export const SF = 1n << 7n;
export const IF = 1n << 9n;
export const OF = 1n << 11n;
export const RF = 1n << 16n;
export const VM = 1n << 17n;
export const AC = 1n << 18n;
/** CF, PF, AF, ZF, SF and OF. */
export const STATUS_FLAGS = CF | PF | AF | ZF | SF | OF;

export const CR0_PE = 1 << 0;
export const CR0_MP = 1 << 1;
export const CR0_EM = 1 << 2;
export const CR0_TS = 1 << 3;
export const CR0_WP = 1 << 16;
export const CR0_PG = 0x8000_0000;

export const CR4_PSE = 1 << 4;
export const CR4_PAE = 1 << 5;
export const CR4_OSFXSR = 1 << 9;
export const CR4_LA57 = 1 << 12;
export const CR4_FSGSBASE = 1 << 16;
export const CR4_OSXSAVE = 1 << 18;
export const CR4_SMEP = 1 << 20;
export const CR4_SMAP = 1 << 21;
export const CR4_PKE = 1 << 22;

export const EFER_LMA = 1 << 10;
export const EFER_NXE = 1 << 11;

export const MSR_IA32_TSC = 0x10;
export const MSR_IA32_XSS = 0xda0;
export const MSR_LSTAR = 0xc000_0082;
export const MSR_SYSCALL_MASK = 0xc000_0084;
export const MSR_KERNEL_GS_BASE = 0xc000_0102;
export const MSR_TSC_AUX = 0xc000_0103;

/** Exception vectors, Intel SDM volume 3A table 6-1. */
export const VECTOR_DB = 1;
export const VECTOR_BP = 3;
export const VECTOR_OF = 4;
export const VECTOR_UD = 6;
export const VECTOR_NM = 7;
export const VECTOR_SS = 12;
export const VECTOR_GP = 13;
export const VECTOR_PF = 14;

/** The low 32 bits of a control register or of EFER: all the bits this module looks at. */
export function low32(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

/** Current privilege level, 0 to 3. KVM keeps it in the DPL of SS. */
export function privilegeLevel(cpu: AssistCpu): number {
  const { cr0, ss } = cpu.sregs;
  if ((low32(cr0) & CR0_PE) === 0) return 0;
  if ((cpu.regs[RFLAGS]! & VM) !== 0n) return 3;
  return ss.dpl;
}

/** Width of code in bits: 64 in 64-bit mode, else what the D bit of CS says. */
export function codeSize(sregs: SpecialRegisters, rflags: bigint): 16 | 32 | 64 {
  if ((low32(sregs.cr0) & CR0_PE) === 0 || (rflags & VM) !== 0n) return 16;
  if ((low32(sregs.efer) & EFER_LMA) !== 0 && sregs.cs.l !== 0) return 64;
  return sregs.cs.db !== 0 ? 32 : 16;
}

/** A general register by its 4-bit instruction number, zero-extended from `size` bytes (2, 4 or 8). */
export function readRegister(cpu: AssistCpu, number: number, size: number): bigint {
  const value = cpu.regs[KVM_INDEX_BY_NUMBER[number]!]!;
  return size === 8 ? value : BigInt.asUintN(size * 8, value);
}

/** Writes a general register: 4-byte writes clear the upper half, 2-byte writes keep the rest. */
export function writeRegister(cpu: AssistCpu, number: number, size: number, value: bigint): void {
  const index = KVM_INDEX_BY_NUMBER[number]!;
  if (size === 8) cpu.regs[index] = value;
  else if (size === 4) cpu.regs[index] = BigInt.asUintN(32, value);
  else cpu.regs[index] = (cpu.regs[index]! & ~0xffffn) | BigInt.asUintN(16, value);
}

/** Replaces the six status flags. */
export function setStatusFlags(cpu: AssistCpu, flags: bigint): void {
  cpu.regs[RFLAGS] = (cpu.regs[RFLAGS]! & ~STATUS_FLAGS) | flags;
}
