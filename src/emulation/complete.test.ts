import { describe, expect, it } from "vitest";
import { completeInstruction, type Completion } from "./complete.ts";
import { AC, CF, R11, RAX, RBX, RCX, RDX, RF, RFLAGS, RIP, RSP, ZF } from "./registers.ts";
import { FakeCpu } from "./testing/fake-cpu.ts";
import { UnsupportedInstructionError } from "./unsupported-instruction-error.ts";

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.split(" "), (byte) => Number.parseInt(byte, 16));
}

function run(cpu: FakeCpu, hex: string): Completion {
  return completeInstruction(cpu, bytes(hex));
}

const COMPLETED = { kind: "completed" };

describe("completeInstruction", () => {
  it("injects #BP behind INT3", () => {
    const cpu = new FakeCpu();
    expect(run(cpu, "cc")).toEqual({ kind: "exception", vector: 3 });
    expect(cpu.exception).toEqual({ vector: 3, errorCode: undefined, cr2: undefined });
    expect(cpu.regs[RIP]).toBe(0x1001n);
  });

  it("injects #UD on UD2 itself", () => {
    const cpu = new FakeCpu();
    expect(run(cpu, "0f 0b")).toEqual({ kind: "exception", vector: 6 });
    expect(cpu.regs[RIP]).toBe(0x1000n);
  });

  it("steps over FWAIT and fences, and clears RF", () => {
    for (const hex of [
      "9b",
      "0f ae e8",
      "0f ae f0",
      "0f ae f8",
      "f3 90",
      "0f 1f 44 00 00",
      "f3 0f 1e fa",
      "0f ae 3b",
    ]) {
      const cpu = new FakeCpu();
      cpu.regs[RFLAGS] = cpu.regs[RFLAGS]! | RF;
      expect(run(cpu, hex)).toEqual(COMPLETED);
      expect(cpu.regs[RIP]).toBe(0x1000n + BigInt(bytes(hex).length));
      expect(cpu.regs[RFLAGS]! & RF).toBe(0n);
    }
  });

  it("raises #NM on FWAIT with TS and MP set, and #MF with an unmasked exception pending", () => {
    const lazy = new FakeCpu();
    lazy.sregs.cr0 |= 8n;
    expect(run(lazy, "9b")).toEqual({ kind: "exception", vector: 7 });
    const pending = new FakeCpu();
    pending.xsave[2] = 0x80;
    expect(run(pending, "9b")).toEqual({ kind: "exception", vector: 16 });
  });

  it("sets and clears AC", () => {
    const cpu = new FakeCpu();
    expect(run(cpu, "0f 01 cb")).toEqual(COMPLETED);
    expect(cpu.regs[RFLAGS]! & AC).toBe(AC);
    expect(run(cpu, "0f 01 ca")).toEqual(COMPLETED);
    expect(cpu.regs[RFLAGS]! & AC).toBe(0n);
    expect(cpu.regs[RIP]).toBe(0x1006n);
    cpu.enterUserMode();
    expect(run(cpu, "0f 01 ca")).toEqual({ kind: "exception", vector: 6 });
  });

  it("compares and exchanges 16 bytes", () => {
    const cpu = new FakeCpu().mapIdentity();
    cpu.view.setBigUint64(0x2000, 1n, true);
    cpu.view.setBigUint64(0x2008, 2n, true);
    cpu.regs[RAX] = 1n;
    cpu.regs[RDX] = 2n;
    cpu.regs[RBX] = 3n;
    cpu.regs[RCX] = 4n;
    cpu.regs[4] = 0x2000n;
    // lock cmpxchg16b [rsi]
    expect(run(cpu, "f0 48 0f c7 0e")).toEqual(COMPLETED);
    expect(cpu.regs[RFLAGS]! & ZF).toBe(ZF);
    expect(cpu.view.getBigUint64(0x2000, true)).toBe(3n);
    expect(cpu.view.getBigUint64(0x2008, true)).toBe(4n);
    expect(cpu.dirty).toContainEqual({ gpa: 0x2000, length: 16 });
    expect(cpu.lockDepth).toBe(0);
    expect(run(cpu, "f0 48 0f c7 0e")).toEqual(COMPLETED);
    expect(cpu.regs[RFLAGS]! & ZF).toBe(0n);
    expect([cpu.regs[RAX], cpu.regs[RDX]]).toEqual([3n, 4n]);
    cpu.regs[4] = 0x2008n;
    expect(run(cpu, "f0 48 0f c7 0e")).toEqual({ kind: "exception", vector: 13 });
    expect(cpu.exception?.errorCode).toBe(0);
  });

  it("fetches the bytes it was not given, and faults where they are not mapped", () => {
    const cpu = new FakeCpu().mapIdentity(2);
    cpu.regs[RIP] = 0x1ffcn;
    cpu.ram.set(bytes("f3 48 0f b8"), 0x1ffc);
    expect(run(cpu, "f3 48 0f")).toEqual({ kind: "exception", vector: 14 });
    expect(cpu.exception).toEqual({ vector: 14, errorCode: 0x10, cr2: 0x2000n });
    cpu.map(0x2000n, 0x5000, 2n);
    cpu.ram[0x5000] = 0xc3;
    cpu.regs[RBX] = 0xffn;
    // popcnt rax, rbx
    expect(completeInstruction(cpu, new Uint8Array(0))).toEqual(COMPLETED);
    expect(cpu.regs[RAX]).toBe(8n);
    expect(cpu.regs[RIP]).toBe(0x2001n);
  });

  it("injects the page fault of a memory operand with CR2 and error code", () => {
    const cpu = new FakeCpu().mapIdentity(4);
    cpu.map(0x7000_0000n, 0x3000, 4n); // user, read-only
    cpu.regs[RAX] = 0x7000_0ffcn;
    cpu.regs[RFLAGS] = cpu.regs[RFLAGS]! | AC;
    // popcnt rcx, [rax] crosses into the next, absent page
    expect(run(cpu, "f3 48 0f b8 08")).toEqual({ kind: "exception", vector: 14 });
    expect(cpu.exception).toEqual({ vector: 14, errorCode: 0, cr2: 0x7000_1000n });
    cpu.regs[RAX] = 0x7000_0000n;
    expect(run(cpu, "f3 48 0f b8 08")).toEqual(COMPLETED);
    // stmxcsr [rax] writes to a read-only page
    expect(run(cpu, "0f ae 18")).toEqual({ kind: "exception", vector: 14 });
    expect(cpu.exception).toEqual({ vector: 14, errorCode: 3, cr2: 0x7000_0000n });
    cpu.regs[RFLAGS] = 2n;
    // SMAP
    expect(run(cpu, "f3 48 0f b8 08")).toEqual({ kind: "exception", vector: 14 });
    expect(cpu.exception?.errorCode).toBe(1);
  });

  it("fills RDRAND's register and sets CF alone", () => {
    const cpu = new FakeCpu();
    cpu.regs[RFLAGS] = 0x8d7n;
    expect(run(cpu, "48 0f c7 f0")).toEqual(COMPLETED);
    expect(cpu.regs[RFLAGS]! & 0x8d5n).toBe(CF);
    cpu.regs[RDX] = ~0n;
    expect(run(cpu, "66 0f c7 fa")).toEqual(COMPLETED);
    expect(cpu.regs[RDX]! >> 16n).toBe(0xffff_ffff_ffffn);
  });

  it("reads the time stamp counter and TSC_AUX", () => {
    const cpu = new FakeCpu();
    cpu.msrs.set(0x10, 0x1234_5678_9abc_def0n).set(0xc000_0103, 7n);
    expect(run(cpu, "0f 01 f9")).toEqual(COMPLETED);
    expect([cpu.regs[RAX], cpu.regs[RDX], cpu.regs[RCX]]).toEqual([0x9abc_def0n, 0x1234_5678n, 7n]);
  });

  it("swaps GS and reads and writes segment bases", () => {
    const cpu = new FakeCpu();
    cpu.sregs.gs.base = 0x11n;
    cpu.msrs.set(0xc000_0102, 0xffff_8880_0000_0000n);
    expect(run(cpu, "0f 01 f8")).toEqual(COMPLETED);
    expect(cpu.msrs.get(0xc000_0101)).toBe(0xffff_8880_0000_0000n);
    expect(cpu.msrs.get(0xc000_0102)).toBe(0x11n);
    // rdgsbase rax; wrfsbase rax
    expect(run(cpu, "f3 48 0f ae c8")).toEqual(COMPLETED);
    expect(cpu.regs[RAX]).toBe(0xffff_8880_0000_0000n);
    cpu.regs[RAX] = 1n << 60n;
    expect(run(cpu, "f3 48 0f ae d0")).toEqual({ kind: "exception", vector: 13 });
  });

  it("says what it cannot complete", () => {
    const cpu = new FakeCpu();
    const completion = run(cpu, "c5 f5 ec c2 90 90");
    expect(completion).toMatchObject({
      kind: "unsupported",
      name: "vpaddsb ymm0, ymm1, ymm2",
      bytes: "c5 f5 ec c2",
      rip: 0x1000n,
    });
    if (completion.kind !== "unsupported") throw new Error("unreachable");
    expect(new UnsupportedInstructionError(cpu, completion).message).toContain(
      "vpaddsb ymm0, ymm1, ymm2 (c5 f5 ec c2) at RIP 0x1000, 64-bit code, CPL 0",
    );
  });

  it("says where a memory operand is not RAM", () => {
    const cpu = new FakeCpu().mapIdentity(4);
    cpu.map(0x8000n, 0xfee0_0000, 2n);
    cpu.regs[RAX] = 0x8000n;
    expect(run(cpu, "0f ae 18")).toMatchObject({
      kind: "unsupported",
      reason: expect.stringContaining("0xfee00000"),
    });
  });
});

describe("the repair of a mis-delivered SYSCALL", () => {
  const ENTRY = 0xffff_ffff_8180_0000n;
  const FMASK = 0x4_7700n;

  /** A vCPU at the CLAC of its page-fault handler, with the frame that a mis-delivered SYSCALL leaves. */
  function atPageFault(): FakeCpu {
    const cpu = new FakeCpu().mapIdentity(16);
    cpu.map(0x40_0000n, 0x9000, 4n);
    cpu.ram.set(bytes("0f 05"), 0x9123);
    cpu.regs[RCX] = 0x40_0125n;
    cpu.regs[R11] = 0x246n;
    cpu.regs[RSP] = 0x8fd0n;
    cpu.regs[RFLAGS] = 0x4_0002n;
    [0x15n, ENTRY, 0x33n, 0x1_0046n, 0x7fff_ffff_e000n, 0x2bn].forEach((word, index) => {
      cpu.view.setBigUint64(0x8fd0 + index * 8, word, true);
    });
    return cpu;
  }

  it("goes to the system call entry with the user's stack", () => {
    const cpu = atPageFault();
    expect(run(cpu, "0f 01 ca")).toEqual(COMPLETED);
    expect(cpu.regs[RIP]).toBe(ENTRY);
    expect(cpu.regs[RSP]).toBe(0x7fff_ffff_e000n);
    expect(cpu.regs[RFLAGS]).toBe(0x246n & ~FMASK);
  });

  it("tells a jump to the entry from a SYSCALL by IF, whatever the registers", () => {
    const cpu = atPageFault();
    cpu.view.setBigUint64(0x8fd0 + 24, 0x1_0246n, true);
    expect(run(cpu, "0f 01 ca")).toEqual(COMPLETED);
    expect(cpu.regs[RIP]).toBe(0x1003n);
  });

  it("asks for a SYSCALL before RCX where FMASK leaves IF alone", () => {
    const cpu = atPageFault();
    cpu.msrs.set(0xc000_0084, 0x4_7500n);
    cpu.view.setBigUint64(0x8fd0 + 24, 0x1_0246n, true);
    cpu.regs[RCX] = 0x40_0126n;
    expect(run(cpu, "0f 01 ca")).toEqual(COMPLETED);
    expect(cpu.regs[RIP]).toBe(0x1003n);
    cpu.regs[RIP] = 0x1000n;
    cpu.regs[RCX] = 0x1002n;
    expect(run(cpu, "0f 01 ca")).toEqual(COMPLETED);
    expect(cpu.regs[RIP]).toBe(0x1003n);
    cpu.regs[RCX] = 0x40_0125n;
    expect(run(cpu, "0f 01 ca")).toEqual(COMPLETED);
    expect(cpu.regs[RIP]).toBe(ENTRY);
  });

  it.each<[string, (cpu: FakeCpu) => void]>([
    ["another error code", (cpu) => cpu.view.setBigUint64(0x8fd0, 0x14n, true)],
    ["another address", (cpu) => cpu.view.setBigUint64(0x8fd8, ENTRY + 1n, true)],
    ["a fault in the kernel", (cpu) => cpu.view.setBigUint64(0x8fe0, 0x10n, true)],
    ["R11 with flags that SYSCALL does not mask", (cpu) => (cpu.regs[R11] = 0x20_0246n)],
    ["R11 that is no flags", (cpu) => (cpu.regs[R11] = 0x1_0000_0246n)],
    ["a stack that is not mapped", (cpu) => (cpu.regs[RSP] = 0x9_0000n)],
  ])("leaves alone %s", (_what, change) => {
    const cpu = atPageFault();
    change(cpu);
    expect(run(cpu, "0f 01 ca")).toEqual(COMPLETED);
    expect(cpu.regs[RIP]).toBe(0x1003n);
    expect(cpu.regs[RFLAGS]! & AC).toBe(0n);
  });
});
