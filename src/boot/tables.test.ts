/** The small tables: e820, page tables, GDT, hvm_start_info. */
import { describe, expect, it } from "vitest";
import { e820Map } from "./e820.ts";
import { codeSegment32, codeSegment64, dataSegment, globalDescriptorTable, taskSegment } from "./gdt.ts";
import { identityPageTables } from "./page-tables.ts";
import { pvhStartInfo } from "./pvh.ts";
import { FakeRam } from "./testing/fake-ram.ts";

describe("e820Map", () => {
  it("reserves everything from the EBDA to 1 MiB", () => {
    expect(e820Map([{ gpa: 0, size: 0x400_0000 }])).toEqual([
      { addr: 0, size: 0x9_fc00, type: 1 },
      { addr: 0x9_fc00, size: 0x6_0400, type: 2 },
      { addr: 0x10_0000, size: 0x3f0_0000, type: 1 },
    ]);
  });

  it("has RAM on both sides of the hole", () => {
    expect(e820Map(FakeRam.withHole(5).regions).slice(2)).toEqual([
      { addr: 0x10_0000, size: 0xbff0_0000, type: 1 },
      { addr: 0x1_0000_0000, size: 0x8000_0000, type: 1 },
    ]);
  });
});

describe("identityPageTables", () => {
  /** Walks the tables as a processor does. */
  function translate(tables: Uint8Array, base: number, address: number): number | undefined {
    const view = new DataView(tables.buffer);
    let table = base;
    for (const shift of [39, 30, 21]) {
      const index = Math.floor(address / 2 ** shift) % 512;
      const entry = Number(view.getBigUint64(table - base + index * 8, true));
      if ((entry & 1) === 0) return undefined;
      const target = Math.floor(entry / 4096) * 4096;
      if (shift === 21) {
        expect(entry & 0x83).toBe(0x83);
        return target + (address % 2 ** 21);
      }
      table = target;
    }
    return undefined;
  }

  it("maps the first 4 GiB onto themselves and nothing else", () => {
    const tables = identityPageTables(0x9000);
    expect(tables).toHaveLength(6 * 4096);
    for (const address of [0, 0x7000, 0x10_0000, 0x100_0200, 0x4000_0000, 0xbfff_ffff, 0xffff_ffff]) {
      expect(translate(tables, 0x9000, address)).toBe(address);
    }
    expect(translate(tables, 0x9000, 2 ** 32)).toBeUndefined();
    expect(translate(tables, 0x9000, 2 ** 40)).toBeUndefined();
  });
});

describe("globalDescriptorTable", () => {
  const descriptor = (table: Uint8Array, selector: number): bigint =>
    new DataView(table.buffer).getBigUint64(selector, true);

  it("encodes what the boot protocols prescribe", () => {
    const table = globalDescriptorTable([codeSegment64(), dataSegment(), taskSegment()]);
    expect(table).toHaveLength(0x30);
    expect(descriptor(table, 0)).toBe(0n);
    expect(descriptor(table, 0x10)).toBe(0x00af_9b00_0000_ffffn);
    expect(descriptor(table, 0x18)).toBe(0x00cf_9300_0000_ffffn);
    expect(descriptor(table, 0x20)).toBe(0x0000_8b00_0000_0067n);
    expect(descriptor(table, 0x28)).toBe(0n);
  });

  it("encodes a 32-bit code segment and a base", () => {
    const table = globalDescriptorTable([codeSegment32(), { ...dataSegment(), base: 0x1234_5678 }]);
    expect(descriptor(table, 0x10)).toBe(0x00cf_9b00_0000_ffffn);
    expect(descriptor(table, 0x18)).toBe(0x12cf_9334_5678_ffffn);
  });
});

describe("pvhStartInfo", () => {
  it("leads to command line, memory map and initrd", () => {
    const ram = FakeRam.ofMiB(1);
    const e820 = e820Map([{ gpa: 0, size: 0x400_0000 }]);
    for (const { gpa, bytes } of pvhStartInfo({
      cmdline: 0x1_0000,
      initrd: { gpa: 0x300_0000, size: 5 },
      e820,
    })) {
      ram.write(gpa, bytes);
    }
    const info = 0x1000;
    expect(ram.u32(info)).toBe(0x336e_c578);
    expect(ram.u32(info + 4)).toBe(1);
    expect(ram.u32(info + 12)).toBe(1);
    expect(ram.u64(info + 24)).toBe(0x1_0000n);
    const modlist = Number(ram.u64(info + 16));
    expect(ram.u64(modlist)).toBe(0x300_0000n);
    expect(ram.u64(modlist + 8)).toBe(5n);
    const memmap = Number(ram.u64(info + 40));
    expect(ram.u32(info + 48)).toBe(3);
    expect([ram.u64(memmap + 24), ram.u64(memmap + 32), ram.u32(memmap + 40)]).toEqual([
      0x9_fc00n,
      0x6_0400n,
      2,
    ]);
  });

  it("has no modules without an initrd", () => {
    const [info] = pvhStartInfo({ cmdline: 0x1_0000, e820: [] });
    const view = new DataView(info!.bytes.buffer);
    expect(view.getUint32(12, true)).toBe(0);
    expect(view.getBigUint64(16, true)).toBe(0n);
  });
});
