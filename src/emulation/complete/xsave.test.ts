import { beforeEach, describe, expect, it } from "vitest";
import { completeInstruction, type Completion } from "../complete.ts";
import { RAX, RCX, RDX } from "../registers.ts";
import { FakeCpu } from "../testing/fake-cpu.ts";

const RDI = 5;
const AREA = 0x2000;
const COMPLETED = { kind: "completed" };
const GP = { kind: "exception", vector: 13 };

const XSAVE = "48 0f ae 27";
const XSAVEOPT = "48 0f ae 37";
const XSAVEC = "48 0f c7 27";
const XSAVES = "48 0f c7 2f";
const XRSTOR = "48 0f ae 2f";
const XRSTORS = "48 0f c7 1f";
const FXSAVE = "48 0f ae 07";
const FXRSTOR = "48 0f ae 0f";

let cpu: FakeCpu;
let state: DataView;

function run(hex: string): Completion {
  return completeInstruction(
    cpu,
    Uint8Array.from(hex.split(" "), (byte) => Number.parseInt(byte, 16)),
  );
}

function u32(offset: number): number {
  return cpu.view.getUint32(AREA + offset, true);
}

beforeEach(() => {
  cpu = new FakeCpu().mapIdentity(16);
  cpu.regs[RDI] = BigInt(AREA);
  cpu.regs[RAX] = 0xffff_ffffn;
  cpu.regs[RDX] = 0xffff_ffffn;
  cpu.ram.fill(0xaa, AREA, AREA + 0x1000);
  state = new DataView(cpu.xsave.buffer);
  // x87, SSE and AVX-512 opmasks in use; AVX initial.
  state.setUint32(512, 0x23, true);
  state.setUint32(32, 0x1111_1111, true);
  state.setUint32(160, 0x2222_2222, true);
  state.setUint32(1088, 0x5555_5555, true);
  cpu.xcr0Value = 0x27n;
});

describe("XSAVE", () => {
  it("writes every component asked for and says which are in use", () => {
    cpu.view.setUint32(AREA + 512, 0x8000_0004, true);
    expect(run(XSAVE)).toEqual(COMPLETED);
    expect([u32(32), u32(160), u32(576), u32(1088)]).toEqual([0x1111_1111, 0x2222_2222, 0, 0x5555_5555]);
    // The bits of components not asked for stay; XCOMP_BV is not written.
    expect([u32(512), u32(520)]).toEqual([0x8000_0023, 0xaaaa_aaaa]);
    expect([u32(24), u32(28)]).toEqual([0x1f80, 0xffff]);
    // Software's part of the legacy region, and what lies behind.
    expect([u32(464), u32(1152)]).toEqual([0xaaaa_aaaa, 0xaaaa_aaaa]);
  });

  it("saves no more than EDX:EAX asks for", () => {
    cpu.regs[RAX] = 4n;
    expect(run(XSAVE)).toEqual(COMPLETED);
    expect([u32(0), u32(24), u32(160), u32(576)]).toEqual([0xaaaa_aaaa, 0x1f80, 0xaaaa_aaaa, 0]);
  });

  it("leaves initial components alone as XSAVEOPT", () => {
    expect(run(XSAVEOPT)).toEqual(COMPLETED);
    expect([u32(576), u32(1088)]).toEqual([0xaaaa_aaaa, 0x5555_5555]);
    expect(u32(512) & 0x27).toBe(0x23);
  });

  it.each([XSAVEC, XSAVES])("compacts: %s", (hex) => {
    expect(run(hex)).toEqual(COMPLETED);
    expect([u32(512), u32(516), u32(520), u32(524)]).toEqual([0x23, 0, 0x27, 0x8000_0000]);
    // AVX keeps its place though it is not written.
    expect([u32(576), u32(832)]).toEqual([0xaaaa_aaaa, 0x5555_5555]);
  });

  it("saves MXCSR with XSAVEC where SSE is initial but MXCSR is not", () => {
    state.setUint32(512, 0, true);
    expect(run(XSAVEC)).toEqual(COMPLETED);
    expect([u32(512), u32(24)]).toEqual([0, 0xaaaa_aaaa]);
    state.setUint32(24, 0x1fa0, true);
    expect(run(XSAVEC)).toEqual(COMPLETED);
    expect([u32(512), u32(24)]).toEqual([2, 0x1fa0]);
  });

  it("faults without a trace: alignment, lazy FPU, CR4, page", () => {
    cpu.regs[RDI] = BigInt(AREA + 32);
    expect(run(XSAVE)).toEqual(GP);
    cpu.regs[RDI] = 0xff00n & ~63n;
    expect(run(XSAVE)).toEqual({ kind: "exception", vector: 14 });
    expect(cpu.exception).toEqual({ vector: 14, errorCode: 2, cr2: 0x1_0000n });
    expect(cpu.ram[0xff00]).toBe(0);
    cpu.sregs.cr0 |= 8n;
    expect(run(XSAVE)).toEqual({ kind: "exception", vector: 7 });
    cpu.sregs.cr4 &= ~(1n << 18n);
    expect(run(XSAVE)).toEqual({ kind: "exception", vector: 6 });
  });

  it("crosses pages", () => {
    cpu.regs[RDI] = 0x2e00n;
    cpu.map(0x3000n, 0x7000, 2n);
    expect(run(XSAVE)).toEqual(COMPLETED);
    expect(cpu.view.getUint32(0x7000 + 1088 - 512, true)).toBe(0x5555_5555);
    expect(cpu.dirty).toContainEqual({ gpa: 0x7240, length: 64 });
  });

  it("takes state components beyond KVM's area for zeros while they are initial", () => {
    cpu.xcr0Value = 0x4_0007n;
    const { cpuid } = cpu;
    cpu.cpuid = (leaf, subleaf) =>
      leaf === 0xd && subleaf === 18
        ? { eax: 8192, ebx: 2816, ecx: 2, edx: 0 }
        : cpuid.call(cpu, leaf, subleaf);
    expect(run(XSAVE)).toEqual(COMPLETED);
    expect([u32(2816), u32(2816 + 8188)]).toEqual([0, 0]);
    state.setUint32(512, 0x4_0000, true);
    expect(run(XSAVE)).toMatchObject({ kind: "unsupported", name: "xsave64 [rdi]" });
  });
});

describe("XRSTOR", () => {
  it.each([
    [XSAVE, XRSTOR],
    [XSAVEC, XRSTOR],
    [XSAVES, XRSTORS],
  ])("brings back what %s saved", (save, restore) => {
    // XSAVE does not write XCOMP_BV.
    cpu.ram.fill(0, AREA + 512, AREA + 576);
    const saved = cpu.xsave.slice();
    expect(run(save)).toEqual(COMPLETED);
    cpu.xsave.fill(0x77, 0, 24).fill(0x77, 32, 416).fill(0x77, 576, 832).fill(0x77, 1088, 1152);
    state.setUint32(512, 0x27, true);
    expect(run(restore)).toEqual(COMPLETED);
    expect(cpu.xsave.subarray(0, 512)).toEqual(saved.subarray(0, 512));
    expect(cpu.xsave.subarray(576)).toEqual(saved.subarray(576));
    expect(state.getUint32(512, true)).toBe(0x23);
  });

  it("loads initial values explicitly where KVM would keep the old ones", () => {
    cpu.xcr0Value = 0x207n;
    cpu.ram.fill(0, AREA, AREA + 1024);
    cpu.view.setUint32(AREA + 24, 0x1f80, true);
    state.setUint32(2688, 0x5555_5554, true);
    expect(run(XRSTOR)).toEqual(COMPLETED);
    expect(state.getUint32(512, true) & 0x207).toBe(0x203);
    expect([state.getUint16(0, true), state.getUint32(160, true), state.getUint32(2688, true)]).toEqual([
      0x37f, 0, 0,
    ]);
  });

  it.each<[string, number, number]>([
    ["a component XCR0 lacks", 512, 0x40],
    ["a compacted header without its bit 63", 520, 1],
    ["reserved header bytes", 528, 1],
  ])("refuses %s", (_what, offset, value) => {
    cpu.ram.fill(0, AREA, AREA + 1024);
    cpu.view.setUint32(AREA + 24, 0x1f80, true);
    cpu.view.setUint32(AREA + offset, value, true);
    expect(run(XRSTOR)).toEqual(GP);
    expect(cpu.xsaveSets).toBe(0);
  });

  it("refuses compacted headers that contradict themselves, and reserved MXCSR bits", () => {
    cpu.ram.fill(0, AREA, AREA + 1024);
    cpu.view.setUint32(AREA + 524, 0x8000_0000, true);
    cpu.view.setUint32(AREA + 512, 1, true);
    expect(run(XRSTOR)).toEqual(GP);
    cpu.view.setUint32(AREA + 520, 1, true);
    expect(run(XRSTOR)).toEqual(COMPLETED);
    cpu.view.setUint32(AREA + 560, 1, true);
    expect(run(XRSTOR)).toEqual(GP);
    cpu.ram.fill(0, AREA, AREA + 1024);
    cpu.view.setUint32(AREA + 24, 0x1_0000, true);
    expect(run(XRSTOR)).toEqual(GP);
    // XRSTORS has no standard form.
    cpu.view.setUint32(AREA + 24, 0, true);
    expect(run(XRSTORS)).toEqual(GP);
  });
});

describe("FXSAVE and FXRSTOR", () => {
  it("save and restore x87 and SSE", () => {
    const saved = cpu.xsave.slice(0, 416);
    expect(run(FXSAVE)).toEqual(COMPLETED);
    expect([u32(32), u32(416)]).toEqual([0x1111_1111, 0xaaaa_aaaa]);
    cpu.xsave.fill(0x77, 0, 24).fill(0x77, 32, 416);
    expect(run(FXRSTOR)).toEqual(COMPLETED);
    expect(cpu.xsave.subarray(0, 416)).toEqual(saved);
    cpu.regs[RDI] = cpu.regs[RDI]! + 8n;
    expect(run(FXSAVE)).toEqual(GP);
  });

  it("touch eight registers in 32-bit code", () => {
    Object.assign(cpu.sregs.cs, { l: 0, db: 1 });
    cpu.xsave[160 + 8 * 16] = 9;
    expect(run("0f ae 07")).toEqual(COMPLETED);
    expect(u32(160 + 8 * 16)).toBe(0xaaaa_aaaa);
  });
});

describe("XGETBV and XSETBV", () => {
  it("read XCR0 and the components in use", () => {
    cpu.regs[RCX] = 0n;
    expect(run("0f 01 d0")).toEqual(COMPLETED);
    expect([cpu.regs[RAX], cpu.regs[RDX]]).toEqual([0x27n, 0n]);
    cpu.regs[RCX] = 1n;
    expect(run("0f 01 d0")).toEqual(COMPLETED);
    expect(cpu.regs[RAX]).toBe(0x23n);
    cpu.regs[RCX] = 2n;
    expect(run("0f 01 d0")).toEqual(GP);
  });

  it.each([
    [7n, true],
    [0xe7n, true],
    [1n, true],
    [6n, false],
    [5n, false],
    [0x27n, false],
    [0x1_0007n, false],
  ])("sets XCR0 to 0x%s: %s", (value, valid) => {
    cpu.regs[RCX] = 0n;
    cpu.regs[RAX] = value;
    cpu.regs[RDX] = 0n;
    expect(run("0f 01 d1")).toEqual(valid ? COMPLETED : GP);
    expect(cpu.xcr0Value).toBe(valid ? value : 0x27n);
  });

  it("write PKRU into the area", () => {
    cpu.sregs.cr4 |= 1n << 22n;
    cpu.regs[RAX] = 0x5555_5554n;
    cpu.regs[RCX] = 0n;
    cpu.regs[RDX] = 0n;
    expect(run("0f 01 ef")).toEqual(COMPLETED);
    cpu.regs[RAX] = 0n;
    expect(run("0f 01 ee")).toEqual(COMPLETED);
    expect(cpu.regs[RAX]).toBe(0x5555_5554n);
    expect(state.getUint32(512, true) & 0x200).toBe(0x200);
  });
});
