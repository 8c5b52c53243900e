/** A vCPU in memory for the tests of this folder: RAM from address 0, registers, MSRs, an XSAVE area. */
import type { AssistCpu, CpuidResult, Segment, SpecialRegisters } from "../cpu.ts";
import { MSR_LSTAR, MSR_SYSCALL_MASK, RFLAGS, RIP } from "../registers.ts";

export interface InjectedException {
  vector: number;
  errorCode: number | undefined;
  cr2: bigint | undefined;
}

const CR0_PE_PG_WP_MP_ET_NE = 0x8001_0033n;
const CR4_USUAL =
  (1n << 5n) | // PAE
  (1n << 9n) | // OSFXSR
  (1n << 10n) | // OSXMMEXCPT
  (1n << 16n) | // FSGSBASE
  (1n << 18n) | // OSXSAVE
  (1n << 20n) | // SMEP
  (1n << 21n); // SMAP
const EFER_SCE_LME_LMA_NXE = 0xd01n;

/** Where the page tables of `mapIdentity` begin. */
export const PAGE_TABLES = 0x4_0000;

/** Extended components as recent Intel processors lay them out: number, size, offset, aligned. */
const COMPONENTS: readonly (readonly [number, number, number, number])[] = [
  [2, 256, 576, 0],
  [5, 64, 1088, 0],
  [6, 512, 1152, 0],
  [7, 1024, 1664, 0],
  [9, 8, 2688, 0],
];

export function segment(fields: Partial<Segment> = {}): Segment {
  return {
    base: 0n,
    limit: 0xffff_ffff,
    selector: 0x18,
    type: 3,
    present: 1,
    dpl: 0,
    db: 1,
    s: 1,
    l: 0,
    g: 1,
    ...fields,
  };
}

export class FakeCpu implements AssistCpu {
  readonly regs = new BigUint64Array(18);
  readonly ram: Uint8Array;
  readonly view: DataView;
  readonly dirty: { gpa: number; length: number }[] = [];
  readonly msrs = new Map<number, bigint>();
  readonly xsave = new Uint8Array(4096);
  exception: InjectedException | undefined;
  lockDepth = 0;
  locksTaken = 0;
  tlbFlushes = 0;
  xsaveSets = 0;
  xcr0Value = 0xe7n;
  sregs: SpecialRegisters;
  #words: BigUint64Array;
  #nextTable = PAGE_TABLES + 4096;

  /** In 64-bit mode at CPL 0, paging on, nothing mapped. `ramSize` in bytes, a multiple of 8. */
  constructor(ramSize = 0x5_0000) {
    this.ram = new Uint8Array(ramSize);
    this.view = new DataView(this.ram.buffer);
    this.#words = new BigUint64Array(this.ram.buffer);
    this.sregs = {
      cs: segment({ selector: 0x10, type: 11, db: 0, l: 1 }),
      ds: segment(),
      es: segment(),
      fs: segment(),
      gs: segment(),
      ss: segment(),
      ldt: segment({ selector: 0, type: 2, s: 0, limit: 0, present: 0 }),
      gdt: { base: 0n, limit: 0 },
      idt: { base: 0n, limit: 0 },
      cr0: CR0_PE_PG_WP_MP_ET_NE,
      cr2: 0n,
      cr3: BigInt(PAGE_TABLES),
      cr4: CR4_USUAL,
      efer: EFER_SCE_LME_LMA_NXE,
    };
    this.regs[RFLAGS] = 2n;
    this.regs[RIP] = 0x1000n;
    this.msrs.set(MSR_LSTAR, 0xffff_ffff_8180_0000n);
    this.msrs.set(MSR_SYSCALL_MASK, 0x4_7700n);
    const view = new DataView(this.xsave.buffer);
    view.setUint16(0, 0x37f, true);
    view.setUint32(24, 0x1f80, true);
    view.setUint32(28, 0xffff, true);
  }

  /** Puts the vCPU at CPL 3. */
  enterUserMode(): void {
    Object.assign(this.sregs.cs, { selector: 0x33, dpl: 3 });
    Object.assign(this.sregs.ss, { selector: 0x2b, dpl: 3 });
  }

  /** Maps one 4 KiB page in 4-level tables. `flags`: entry bits beside present; the upper levels allow everything. */
  map(linear: bigint, gpa: number, flags: bigint): void {
    let table = PAGE_TABLES;
    for (let level = 4; level > 1; level--) {
      const at = table + Number((linear >> BigInt(12 + 9 * (level - 1))) & 0x1ffn) * 8;
      let entry = this.view.getBigUint64(at, true);
      if (entry === 0n) {
        entry = BigInt(this.#nextTable) | 7n;
        this.#nextTable += 4096;
        this.view.setBigUint64(at, entry, true);
      }
      table = Number(entry & 0xf_ffff_ffff_f000n);
    }
    this.view.setBigUint64(this.entryAddress(linear), BigInt(gpa) | flags | 1n, true);
  }

  /** Address of the last-level entry of a mapped page. */
  entryAddress(linear: bigint): number {
    let table = PAGE_TABLES;
    for (let level = 4; level > 1; level--) {
      const entry = this.view.getBigUint64(
        table + Number((linear >> BigInt(12 + 9 * (level - 1))) & 0x1ffn) * 8,
        true,
      );
      table = Number(entry & 0xf_ffff_ffff_f000n);
    }
    return table + Number((linear >> 12n) & 0x1ffn) * 8;
  }

  /** Maps [0, pages × 4 KiB) onto itself, writable, for the kernel. */
  mapIdentity(pages = 64): this {
    for (let page = 0; page < pages; page++) this.map(BigInt(page * 4096), page * 4096, 2n);
    return this;
  }

  getXsave(): Uint8Array {
    return this.xsave;
  }

  setXsave(area: Uint8Array): void {
    this.xsaveSets++;
    if (area !== this.xsave) this.xsave.set(area);
  }

  xcr0(): bigint {
    return this.xcr0Value;
  }

  setXcr0(value: bigint): void {
    this.xcr0Value = value;
  }

  getMsr(index: number): bigint {
    return this.msrs.get(index) ?? 0n;
  }

  setMsr(index: number, value: bigint): void {
    this.msrs.set(index, value);
  }

  cpuid(leaf: number, subleaf: number): CpuidResult {
    const result = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    if (leaf === 0x8000_0008) result.eax = 46;
    if (leaf !== 0xd) return result;
    if (subleaf === 0) result.eax = 0x2e7;
    else if (subleaf === 1) result.eax = 0xf;
    else {
      const component = COMPONENTS.find(([number]) => number === subleaf);
      if (component !== undefined) [, result.eax, result.ebx, result.ecx] = component;
      result.ecx <<= 1;
    }
    return result;
  }

  readPhysical(gpa: number, into: Uint8Array): boolean {
    if (gpa + into.length > this.ram.length) return false;
    into.set(this.ram.subarray(gpa, gpa + into.length));
    return true;
  }

  writePhysical(gpa: number, bytes: Uint8Array): boolean {
    if (gpa + bytes.length > this.ram.length) return false;
    this.ram.set(bytes, gpa);
    return true;
  }

  compareExchangePhysical(gpa: number, expected: bigint, replacement: bigint): bigint | undefined {
    if (gpa + 8 > this.ram.length) return undefined;
    return Atomics.compareExchange(this.#words, gpa / 8, expected, replacement);
  }

  lockMemory(): void {
    this.lockDepth++;
    this.locksTaken++;
  }

  unlockMemory(): void {
    this.lockDepth--;
  }

  flushTlb(): void {
    this.tlbFlushes++;
  }

  markDirty(gpa: number, length: number): void {
    this.dirty.push({ gpa, length });
  }

  injectException(vector: number, errorCode?: number, cr2?: bigint): void {
    this.exception = { vector, errorCode, cr2 };
  }
}
