import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TsvmError } from "../errors.ts";
import { completeInstruction } from "./complete.ts";
import { RFLAGS, RIP } from "./registers.ts";
import { FakeCpu } from "./testing/fake-cpu.ts";

const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.bigInt({ min: 0n, max: 0x4_0000n }),
  fc.constantFrom(0n, 0x2000n, 0x2040n, 0x2fc0n, 0x3ff8n, 0xffff_8000_0000_0000n, 0x7fff_ffff_fff8n),
);

/** Opcodes of everything that is completed, so that random bytes reach it. */
const opening = fc.constantFrom(
  [0x0f, 0xae],
  [0x48, 0x0f, 0xae],
  [0x0f, 0xc7],
  [0xf0, 0x48, 0x0f, 0xc7],
  [0x0f, 0x01],
  [0xf3, 0x0f],
  [0x66, 0x0f],
  [0x66, 0x0f, 0x38],
  [0xf2, 0x0f, 0x38],
  [0x0f],
  [0xc5],
  [0xc4, 0xe2],
  [0xc4, 0xe3],
  [0x62],
  [0xd9],
  [0xdb],
  [0xcd],
  [],
);

describe("completeInstruction on hostile guests", () => {
  it("completes, injects or refuses, and throws nothing", { timeout: 60_000 }, () => {
    const kinds = new Set<string>();
    fc.assert(
      fc.property(
        opening,
        fc.uint8Array({ maxLength: 15 }),
        fc.array(u64, { minLength: 18, maxLength: 18 }),
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
        fc.constantFrom("kernel", "user", "compatible", "protected", "real"),
        fc.boolean(),
        fc.boolean(),
        (first, rest, regs, memory, mode, lazy, usual) => {
          const cpu = new FakeCpu().mapIdentity(8);
          cpu.map(0x4000n, 0xfee0_0000, 2n);
          for (let at = 0; at < 0x8000; at += memory.length) cpu.ram.set(memory, at);
          cpu.xsave.set(memory, 0);
          cpu.xsave.set(memory.subarray(0, 8), 512);
          regs.forEach((value, index) => (cpu.regs[index] = value));
          if (usual) {
            cpu.regs[RFLAGS] = 2n;
            cpu.regs[RIP] = 0x1000n;
          }
          if (mode === "user") cpu.enterUserMode();
          if (mode === "compatible") Object.assign(cpu.sregs.cs, { l: 0, db: 1 });
          if (mode === "protected") cpu.sregs.efer = 0n;
          if (mode === "real") cpu.sregs.cr0 = 0n;
          if (lazy) cpu.sregs.cr0 |= 8n;
          try {
            const completion = completeInstruction(cpu, Uint8Array.from([...first, ...rest].slice(0, 15)));
            kinds.add(completion.kind);
            expect(cpu.exception !== undefined).toBe(completion.kind === "exception");
          } catch (error) {
            expect(error).toBeInstanceOf(TsvmError);
          }
          expect(cpu.lockDepth).toBe(0);
          for (const { gpa, length } of cpu.dirty) expect(gpa + length).toBeLessThanOrEqual(cpu.ram.length);
        },
      ),
      { numRuns: 4000 },
    );
    expect([...kinds].sort()).toEqual(["completed", "exception", "unsupported"]);
  });

  it("changes nothing but CR2 and page-table bits where it faults", { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(
        opening,
        fc.uint8Array({ minLength: 15, maxLength: 15 }),
        fc.array(u64, { minLength: 16, maxLength: 16 }),
        (first, rest, regs) => {
          const cpu = new FakeCpu().mapIdentity(8);
          regs.forEach((value, index) => (cpu.regs[index] = value));
          const code = Uint8Array.from([...first, ...rest].slice(0, 15));
          const before = { regs: cpu.regs.slice(), xsave: cpu.xsave.slice(), ram: cpu.ram.slice(0, 0x8000) };
          const completion = completeInstruction(cpu, code);
          if (completion.kind !== "exception" || [1, 3, 4].includes(completion.vector) || code[0] === 0xcd)
            return;
          expect(cpu.regs).toEqual(before.regs);
          expect(cpu.xsaveSets).toBe(0);
          expect(Buffer.compare(cpu.ram.subarray(0, 0x8000), before.ram)).toBe(0);
        },
      ),
      { numRuns: 1500 },
    );
  });
});
