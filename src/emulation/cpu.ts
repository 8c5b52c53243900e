/**
 * What instruction completion needs of a vCPU. The monitor implements it with KVM_GET/SET_* ioctls and
 * KVM_CAP_SYNC_REGS; tests implement it in memory. Everything not in `regs` is fetched only when asked for, because
 * on a software KVM each ioctl costs about as much as the completion itself.
 */

/** One segment register, the fields of `kvm_segment`. */
export interface Segment {
  base: bigint;
  /** Bytes minus one, granularity already applied, as in `kvm_segment`. */
  limit: number;
  selector: number;
  type: number;
  present: number;
  dpl: number;
  db: number;
  s: number;
  l: number;
  g: number;
}

/** `kvm_dtable`: GDTR or IDTR. */
export interface DescriptorTable {
  base: bigint;
  limit: number;
}

/** The part of `kvm_sregs` that completions read. None ever needs it written back. */
export interface SpecialRegisters {
  cs: Segment;
  ds: Segment;
  es: Segment;
  fs: Segment;
  gs: Segment;
  ss: Segment;
  ldt: Segment;
  gdt: DescriptorTable;
  idt: DescriptorTable;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  efer: bigint;
}

export interface CpuidResult {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

export interface AssistCpu {
  /**
   * The general registers in `kvm_regs` order: rax rbx rcx rdx rsi rdi rsp rbp r8…r15 rip rflags.
   * Written back by the caller when `completeInstruction` returns, whatever it returns.
   */
  readonly regs: BigUint64Array;
  /** Fetched on first use. FS and GS bases are changed through `setMsr`, CR2 through `injectException`. */
  readonly sregs: SpecialRegisters;

  /**
   * The XSAVE area in the standard (non-compacted) format KVM_GET_XSAVE gives: 4096 bytes, or more with
   * KVM_GET_XSAVE2. The completion may change the bytes and hand them to `setXsave`; they are valid until the next call.
   */
  getXsave(): Uint8Array;
  setXsave(area: Uint8Array): void;
  xcr0(): bigint;
  setXcr0(value: bigint): void;

  getMsr(index: number): bigint;
  setMsr(index: number, value: bigint): void;
  /** CPUID as the guest sees it. */
  cpuid(leaf: number, subleaf: number): CpuidResult;

  /** Copies guest physical memory; false where any of it is not RAM. Never called across a 4 KiB page. */
  readPhysical(gpa: number, into: Uint8Array): boolean;
  /** Copies into guest physical memory; false, and nothing written, where any of it is not RAM. Never across a page. */
  writePhysical(gpa: number, bytes: Uint8Array): boolean;
  /**
   * Atomic 8-byte compare and exchange at an 8-byte aligned address (`Atomics.compareExchange` on guest memory).
   * Returns the old value, or undefined where `gpa` is not RAM.
   */
  compareExchangePhysical(gpa: number, expected: bigint, replacement: bigint): bigint | undefined;
  /**
   * One lock for all vCPUs of the machine, held while a locked operation wider than 8 bytes, or one that crosses an
   * 8-byte boundary, is done in pieces. Not recursive. A machine with one vCPU may leave both empty.
   */
  lockMemory(): void;
  unlockMemory(): void;
  /** Drops every cached translation of this vCPU (KVM_SET_SREGS with CR4.PGE flipped, and again with it restored). */
  flushTlb(): void;
  /** [gpa, gpa + length) was written by the monitor, which KVM's dirty log does not see. */
  markDirty(gpa: number, length: number): void;

  /** Makes the guest take an exception before its next instruction. `cr2` only with #PF. RIP is as `regs` says. */
  injectException(vector: number, errorCode?: number, cr2?: bigint): void;
}
