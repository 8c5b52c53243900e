import { beforeEach, describe, expect, it } from "vitest";
import { completeInstruction, type Completion } from "../complete.ts";
import { AC, CF, RAX, RBX, RCX, RDX, RFLAGS, RIP, ZF } from "../registers.ts";
import { FakeCpu } from "../testing/fake-cpu.ts";

const COMPLETED = { kind: "completed" };
let cpu: FakeCpu;

function run(hex: string): Completion {
  return completeInstruction(
    cpu,
    Uint8Array.from(hex.split(" "), (byte) => Number.parseInt(byte, 16)),
  );
}

beforeEach(() => {
  cpu = new FakeCpu().mapIdentity(16);
});

describe("memory operands", () => {
  it("add base, scaled index, displacement and segment base", () => {
    cpu.sregs.gs.base = 0x1000n;
    cpu.regs[RBX] = 0x800n;
    cpu.regs[RCX] = ~0n; // -1
    cpu.view.setUint32(0x1000 + 0x800 - 8 + 0x10, 0xff, true);
    // popcnt eax, gs:[rbx+rcx*8+0x10]
    expect(run("65 f3 0f b8 44 cb 10")).toEqual(COMPLETED);
    expect(cpu.regs[RAX]).toBe(8n);
    // popcnt eax, [rip+0x100]: RIP is that of the next instruction
    cpu.regs[RIP] = 0x3000n;
    cpu.view.setUint32(0x3108, 7, true);
    expect(run("f3 0f b8 05 00 01 00 00")).toEqual(COMPLETED);
    expect(cpu.regs[RAX]).toBe(3n);
    // 67: the sum wraps at 32 bits
    cpu.regs[RBX] = 0xffff_fff0n;
    cpu.view.setUint32(0x2000, 1, true);
    expect(run("67 f3 0f b8 83 10 20 00 00")).toEqual(COMPLETED);
    expect(cpu.regs[RAX]).toBe(1n);
  });

  it("raise #GP or #SS at non-canonical addresses", () => {
    cpu.regs[RBX] = 0x8000_0000_0000n;
    expect(run("f3 0f b8 03")).toEqual({ kind: "exception", vector: 13 });
    cpu.regs[7] = 0x7fff_ffff_fffen;
    expect(run("f3 0f b8 45 00")).toEqual({ kind: "exception", vector: 12 });
  });

  it("respect segment limits and rights in 32-bit code", () => {
    Object.assign(cpu.sregs.cs, { l: 0, db: 1 });
    cpu.sregs.efer = 0n;
    cpu.sregs.cr0 = 1n;
    Object.assign(cpu.sregs.ds, { base: 0x1000n, limit: 0xfff });
    cpu.regs[RBX] = 0xffcn;
    expect(run("f3 0f b8 03")).toEqual(COMPLETED);
    cpu.regs[RBX] = 0xffdn;
    expect(run("f3 0f b8 03")).toEqual({ kind: "exception", vector: 13 });
    cpu.regs[RBX] = 0n;
    cpu.sregs.ds.type = 1;
    expect(run("0f ae 1b")).toEqual({ kind: "exception", vector: 13 });
  });
});

describe("CMPXCHG16B between vCPUs", () => {
  it("gives back the upper half where another vCPU took the lower one", () => {
    cpu.view.setBigUint64(0x2000, 1n, true);
    cpu.view.setBigUint64(0x2008, 2n, true);
    [cpu.regs[RAX], cpu.regs[RDX], cpu.regs[RBX], cpu.regs[RCX], cpu.regs[4]] = [1n, 2n, 3n, 4n, 0x2000n];
    const compareExchange = cpu.compareExchangePhysical.bind(cpu);
    cpu.compareExchangePhysical = (gpa, expected, replacement) => {
      if (gpa === 0x2000) cpu.view.setBigUint64(0x2000, 9n, true);
      return compareExchange(gpa, expected, replacement);
    };
    expect(run("f0 48 0f c7 0e")).toEqual(COMPLETED);
    expect(cpu.regs[RFLAGS]! & ZF).toBe(0n);
    expect([cpu.regs[RAX], cpu.regs[RDX]]).toEqual([9n, 2n]);
    expect(cpu.view.getBigUint64(0x2008, true)).toBe(2n);
  });
});

describe("LAR, LSL, VERR, VERW", () => {
  /** GDT: null, kernel code, kernel data, user data, a 64-bit TSS, an LDT call gate. */
  beforeEach(() => {
    cpu.sregs.gdt = { base: 0x3000n, limit: 0x3f };
    [
      0n,
      0x00af_9b00_0000_ffffn,
      0x00cf_9300_0000_ffffn,
      0x00cf_f300_0000_ffffn,
      0x0000_8b00_0000_2067n,
    ].forEach((descriptor, index) => {
      cpu.view.setBigUint64(0x3000 + index * 8, descriptor, true);
    });
  });

  it.each<[string, number, bigint, bigint | undefined]>([
    ["verw", 0x18, ZF, undefined],
    ["verw", 0x08, 0n, undefined],
    ["verw", 0x00, 0n, undefined],
    ["verw", 0x40, 0n, undefined],
    ["verr", 0x08, ZF, undefined],
    ["verr", 0x20, 0n, undefined],
    ["lar", 0x08, ZF, 0x00af_9b00n],
    ["lar", 0x20, ZF, 0x8b00n],
    ["lsl", 0x10, ZF, 0xffff_ffffn],
    ["lsl", 0x20, ZF, 0x2067n],
    ["lsl", 0x13, 0n, 0n],
  ])("%s of selector 0x%s", (name, selector, zero, result) => {
    cpu.regs[RBX] = BigInt(selector);
    const code = { verr: "0f 00 e3", verw: "0f 00 eb", lar: "0f 02 c3", lsl: "0f 03 c3" }[name]!;
    expect(run(code)).toEqual(COMPLETED);
    expect(cpu.regs[RFLAGS]! & ZF).toBe(zero);
    if (result !== undefined) expect(cpu.regs[RAX]).toBe(result);
  });
});

describe("software interrupts", () => {
  it("check the gate at CPL 3 only", () => {
    cpu.sregs.idt = { base: 0x3000n, limit: 0xfff };
    cpu.view.setUint8(0x3000 + 3 * 16 + 5, 0xee);
    cpu.view.setUint8(0x3000 + 4 * 16 + 5, 0x8e);
    expect(run("cd 04")).toEqual({ kind: "exception", vector: 4 });
    expect(cpu.regs[RIP]).toBe(0x1002n);
    cpu.enterUserMode();
    expect(run("cd 03")).toEqual({ kind: "exception", vector: 3 });
    expect(run("cd 04")).toEqual({ kind: "exception", vector: 13 });
    expect(cpu.exception?.errorCode).toBe(4 * 8 + 2);
  });

  it("beyond the exceptions cannot be injected", () => {
    expect(run("cd 80")).toMatchObject({ kind: "unsupported", name: "int 0x80" });
  });
});

describe("others", () => {
  it("INVPCID checks its descriptor and flushes", () => {
    cpu.regs[4] = 0x2000n;
    cpu.regs[RAX] = 2n;
    expect(run("66 0f 38 82 06")).toEqual(COMPLETED);
    expect(cpu.tlbFlushes).toBe(1);
    cpu.regs[RAX] = 4n;
    expect(run("66 0f 38 82 06")).toEqual({ kind: "exception", vector: 13 });
    cpu.regs[RAX] = 1n;
    cpu.view.setUint32(0x2000, 5, true);
    expect(run("66 0f 38 82 06")).toEqual({ kind: "exception", vector: 13 });
    cpu.sregs.cr4 |= 1n << 17n;
    expect(run("66 0f 38 82 06")).toEqual(COMPLETED);
  });

  it("RDTSC respects CR4.TSD", () => {
    cpu.sregs.cr4 |= 4n;
    expect(run("0f 31")).toEqual(COMPLETED);
    cpu.enterUserMode();
    expect(run("0f 31")).toEqual({ kind: "exception", vector: 13 });
  });

  it("MOVNTI, MOVDIR64B and MOVBE write memory", () => {
    cpu.regs[4] = 0x2000n;
    cpu.regs[RBX] = 0x1122_3344_5566_7788n;
    expect(run("48 0f c3 1e")).toEqual(COMPLETED);
    expect(cpu.view.getBigUint64(0x2000, true)).toBe(0x1122_3344_5566_7788n);
    cpu.regs[RDX] = 0x3000n;
    expect(run("66 0f 38 f8 16")).toEqual(COMPLETED);
    expect(cpu.ram.slice(0x3000, 0x3040)).toEqual(cpu.ram.slice(0x2000, 0x2040));
    expect(run("0f 38 f1 1e")).toEqual(COMPLETED);
    expect(cpu.view.getUint32(0x2000, true)).toBe(0x8877_6655);
    expect(cpu.dirty).toContainEqual({ gpa: 0x3000, length: 64 });
  });

  it("TPAUSE returns at once, with CF clear", () => {
    cpu.regs[RFLAGS] = 2n | CF | AC;
    expect(run("66 0f ae f0")).toEqual(COMPLETED);
    expect(cpu.regs[RFLAGS]).toBe(2n | AC);
  });

  it("x87 control instructions change the area", () => {
    const state = new DataView(cpu.xsave.buffer);
    cpu.regs[4] = 0x2000n;
    cpu.view.setUint16(0x2000, 0x027f, true);
    expect(run("d9 2e")).toEqual(COMPLETED);
    expect(state.getUint16(0, true)).toBe(0x027f);
    // TOP is 3: ST(0) of the image is physical register 3.
    state.setUint16(2, 0x1800, true);
    state.setUint32(32, 0x1234, true);
    expect(run("db e3")).toEqual(COMPLETED);
    expect([state.getUint16(0, true), state.getUint16(2, true), state.getUint32(32 + 3 * 16, true)]).toEqual([
      0x37f, 0, 0x1234,
    ]);
    expect(run("df e0")).toEqual(COMPLETED);
    expect(cpu.regs[RAX]! & 0xffffn).toBe(0n);
    cpu.sregs.cr0 |= 8n;
    expect(run("db e3")).toEqual({ kind: "exception", vector: 7 });
  });
});

describe("vector moves and logic", () => {
  beforeEach(() => {
    cpu.xsave.set(
      Uint8Array.from({ length: 256 }, (_, at) => at),
      160,
    );
    cpu.xsave.set(
      Uint8Array.from({ length: 256 }, (_, at) => 255 - at),
      576,
    );
    cpu.regs[4] = 0x2000n;
  });

  it("store and load", () => {
    expect(run("c5 fe 7f 0e")).toEqual(COMPLETED); // vmovdqu [rsi], ymm1
    expect(cpu.ram.slice(0x2000, 0x2020)).toEqual(
      Uint8Array.of(...cpu.xsave.slice(176, 192), ...cpu.xsave.slice(592, 608)),
    );
    expect(run("0f 10 16")).toEqual(COMPLETED); // movups xmm2, [rsi] keeps the upper half
    expect(cpu.xsave.slice(192, 208)).toEqual(cpu.xsave.slice(176, 192));
    expect(cpu.xsave[576 + 32]).toBe(223);
    expect(run("c5 f8 10 16")).toEqual(COMPLETED); // vmovups xmm2, [rsi] clears it
    expect(cpu.xsave.slice(608, 624)).toEqual(new Uint8Array(16));
  });

  it("check alignment, CR4 and XCR0", () => {
    cpu.regs[4] = 0x2008n;
    expect(run("0f 28 06")).toEqual({ kind: "exception", vector: 13 });
    expect(run("66 0f ef 06")).toEqual({ kind: "exception", vector: 13 });
    expect(run("c5 f9 ef 06")).toEqual(COMPLETED);
    cpu.xcr0Value = 3n;
    expect(run("c5 f9 ef 06")).toEqual({ kind: "exception", vector: 6 });
    cpu.sregs.cr4 &= ~0x200n;
    expect(run("0f 10 06")).toEqual({ kind: "exception", vector: 6 });
  });

  it("compute lane by lane", () => {
    expect(run("66 0f ef c0")).toEqual(COMPLETED); // pxor xmm0, xmm0
    expect(cpu.xsave.slice(160, 176)).toEqual(new Uint8Array(16));
    expect(run("c5 fd 76 c0")).toEqual(COMPLETED); // vpcmpeqd ymm0, ymm0, ymm0
    expect(run("c5 fd d7 c0")).toEqual(COMPLETED); // vpmovmskb eax, ymm0
    expect(cpu.regs[RAX]).toBe(0xffff_ffffn);
    expect(run("c5 f8 77")).toEqual(COMPLETED); // vzeroupper
    expect(cpu.xsave.slice(576, 832)).toEqual(new Uint8Array(256));
  });
});
