import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import {
  FETCH,
  PF_FETCH,
  PF_PRESENT,
  PF_PROTECTION_KEY,
  PF_RESERVED,
  PF_USER,
  PF_WRITE,
  READ,
  WRITE,
  type Access,
  faultErrorCode,
  translate,
} from "./page-walk.ts";
import { AC, RFLAGS } from "./registers.ts";
import { FakeCpu, PAGE_TABLES } from "./testing/fake-cpu.ts";

const W = 2n;
const U = 4n;
const PS = 0x80n;
const NX = 1n << 63n;

let cpu: FakeCpu;
beforeEach(() => {
  cpu = new FakeCpu();
});

function fault(linear: bigint, access: Access): number {
  const result = translate(cpu, linear, access);
  expect(result).toBeLessThan(0);
  return faultErrorCode(result);
}

describe("4-level paging", () => {
  it("translates, and sets accessed and dirty bits", () => {
    const linear = 0xffff_8880_1234_5000n;
    cpu.map(linear, 0x7000, W);
    expect(translate(cpu, linear + 0x123n, READ)).toBe(0x7123);
    expect(cpu.view.getBigUint64(cpu.entryAddress(linear), true) & 0x60n).toBe(0x20n);
    expect(cpu.view.getBigUint64(PAGE_TABLES + 0x111 * 8, true) & 0x20n).toBe(0x20n);
    const marked = cpu.dirty.length;
    expect(marked).toBe(4);
    expect(translate(cpu, linear, WRITE)).toBe(0x7000);
    expect(cpu.view.getBigUint64(cpu.entryAddress(linear), true) & 0x60n).toBe(0x60n);
    expect(translate(cpu, linear, WRITE)).toBe(0x7000);
    expect(cpu.dirty.length).toBe(marked + 1);
  });

  it("checks rights", () => {
    cpu.map(0x1000n, 0x5000, 0n);
    cpu.map(0x2000n, 0x5000, W | NX);
    cpu.map(0x3000n, 0x5000, W | U);
    expect(fault(0x1000n, WRITE)).toBe(PF_PRESENT | PF_WRITE);
    cpu.sregs.cr0 &= ~(1n << 16n);
    expect(translate(cpu, 0x1000n, WRITE)).toBe(0x5000);
    expect(fault(0x2000n, FETCH)).toBe(PF_PRESENT | PF_FETCH);
    // SMAP and SMEP
    expect(fault(0x3000n, READ)).toBe(PF_PRESENT);
    expect(fault(0x3000n, FETCH)).toBe(PF_PRESENT | PF_FETCH);
    cpu.regs[RFLAGS] = cpu.regs[RFLAGS]! | AC;
    expect(translate(cpu, 0x3000n, READ)).toBe(0x5000);
    expect(translate(cpu, 0x3000n, READ, { implicitSupervisor: true })).toBeLessThan(0);
    cpu.enterUserMode();
    expect(fault(0x2000n, READ)).toBe(PF_PRESENT | PF_USER);
    expect(translate(cpu, 0x3000n, WRITE)).toBe(0x5000);
    expect(fault(0x9000n, WRITE)).toBe(PF_USER | PF_WRITE);
    expect(translate(cpu, 0x2000n, READ, { implicitSupervisor: true })).toBe(0x5000);
  });

  it("checks protection keys of user pages", () => {
    cpu.sregs.cr4 |= 1n << 22n;
    cpu.enterUserMode();
    cpu.map(0x1000n, 0x5000, W | U | (3n << 59n));
    const pkru = new DataView(cpu.xsave.buffer, 2688);
    expect(translate(cpu, 0x1000n, WRITE)).toBe(0x5000);
    pkru.setUint32(0, 2 << 6, true);
    expect(translate(cpu, 0x1000n, READ)).toBe(0x5000);
    expect(fault(0x1000n, WRITE)).toBe(PF_PRESENT | PF_USER | PF_WRITE | PF_PROTECTION_KEY);
    pkru.setUint32(0, 1 << 6, true);
    expect(fault(0x1000n, READ)).toBe(PF_PRESENT | PF_USER | PF_PROTECTION_KEY);
    expect(translate(cpu, 0x1000n, FETCH)).toBe(0x5000);
  });

  it("walks large pages", () => {
    cpu.map(0x4000_0000n, 0, W);
    const pdpt = Number(cpu.view.getBigUint64(PAGE_TABLES, true) & ~0xfffn);
    const directory = Number(cpu.view.getBigUint64(pdpt + 8, true) & ~0xfffn);
    cpu.view.setBigUint64(directory + 8, 0x1_4000_0000n | PS | W | 1n, true);
    expect(translate(cpu, 0x4021_2345n, READ)).toBe(0x1_4001_2345);
    cpu.view.setBigUint64(directory + 8, 0x1_4000_2000n | PS | W | 1n, true);
    expect(fault(0x4021_2345n, READ)).toBe(PF_PRESENT | PF_RESERVED);
    cpu.view.setBigUint64(pdpt + 16, 0x2_c000_0000n | PS | W | 1n, true);
    expect(translate(cpu, 0xb123_4567n, WRITE)).toBe(0x2_f123_4567);
  });

  it("finds reserved bits: beyond the physical address width, and NX without EFER.NXE", () => {
    cpu.map(0x1000n, 0x5000, W | (1n << 46n));
    expect(fault(0x1000n, READ)).toBe(PF_PRESENT | PF_RESERVED);
    cpu.map(0x2000n, 0x5000, W | NX);
    cpu.sregs.efer = 0x501n;
    expect(fault(0x2000n, READ)).toBe(PF_PRESENT | PF_RESERVED);
  });

  it("treats tables outside RAM as not present", () => {
    cpu.sregs.cr3 = 0xfff_ffff_f000n;
    expect(fault(0x1000n, WRITE)).toBe(PF_WRITE);
  });
});

describe("other modes", () => {
  it("passes addresses through without paging", () => {
    cpu.sregs.cr0 = 1n;
    expect(translate(cpu, 0x1234_5678n, WRITE)).toBe(0x1234_5678);
  });

  it("walks five levels", () => {
    cpu.sregs.cr4 |= 1n << 12n;
    cpu.map(0x1000n, 0x5000, W);
    // The tables of `map` become the ones below a new root.
    cpu.view.setBigUint64(0x8000, BigInt(PAGE_TABLES) | 7n, true);
    cpu.sregs.cr3 = 0x8000n;
    expect(translate(cpu, 0x1008n, READ)).toBe(0x5008);
    expect(fault(1n << 48n, READ)).toBe(0);
  });

  it("walks 32-bit tables with and without 4 MiB pages", () => {
    cpu.sregs.efer = 0n;
    cpu.sregs.cr4 = 0x10n;
    cpu.sregs.cr3 = 0x8000n;
    cpu.view.setUint32(0x8004, 0x9000 | 3, true);
    cpu.view.setUint32(0x9004, 0x5000 | 3, true);
    cpu.view.setUint32(0x8008, 0xc0_0000 | 0x83, true);
    expect(translate(cpu, 0x40_1234n, WRITE)).toBe(0x5234);
    expect(cpu.view.getUint32(0x9004, true)).toBe(0x5063);
    expect(cpu.view.getUint32(0x8004, true)).toBe(0x9023);
    expect(cpu.view.getUint32(0x8008, true)).toBe(0xc0_0083);
    expect(translate(cpu, 0x81_2345n, READ)).toBe(0xc1_2345);
    expect(fault(0xc0_0000n, WRITE)).toBe(PF_WRITE);
  });

  it("walks PAE tables", () => {
    cpu.sregs.efer = 0x800n;
    cpu.sregs.cr3 = 0x8020n;
    cpu.view.setBigUint64(0x8020 + 3 * 8, 0x9001n, true);
    cpu.view.setBigUint64(0x9000, 0xa003n, true);
    cpu.view.setBigUint64(0xa008, 0x1_0000_5003n, true);
    expect(translate(cpu, 0xc000_1234n, WRITE)).toBe(0x1_0000_5234);
    cpu.view.setBigUint64(0x8020 + 3 * 8, 0x9003n, true);
    expect(fault(0xc000_1234n, READ)).toBe(PF_PRESENT | PF_RESERVED);
  });
});

describe("hostile page tables", () => {
  it("never throw, and never lead outside the physical address space", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 4096, maxLength: 4096 }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        fc.constantFrom<Access>(READ, WRITE, FETCH),
        fc.bigInt({ min: 0n, max: (1n << 24n) - 1n }),
        fc.constantFrom(0n, 0x800n, 0xd01n),
        (table, linear, access, cr4, efer) => {
          const hostile = new FakeCpu(0x4000);
          for (let page = 0; page < 4; page++) hostile.ram.set(table, page * 4096);
          // Entries that stay in RAM, so that walks go deep and in circles.
          for (let at = 0; at < 0x4000; at += 8) {
            if ((hostile.ram[at]! & 0x40) === 0)
              hostile.view.setBigUint64(
                at,
                BigInt(hostile.ram[at]! & 0x7f) | 1n | BigInt((at & 0x18) << 9),
                true,
              );
          }
          Object.assign(hostile.sregs, { cr3: 0n, cr4, efer });
          const gpa = translate(hostile, linear, access);
          expect(gpa < 0 ? faultErrorCode(gpa) : 0).toBeLessThan(64);
          expect(gpa).toBeLessThan(2 ** 52);
        },
      ),
      { numRuns: 500 },
    );
  });
});
