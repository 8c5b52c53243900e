import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ENCODING_EVEX,
  ENCODING_VEX,
  GS,
  MAP_0F,
  MAP_0F38,
  MAP_0F3A,
  PREFIX_66,
  PREFIX_F3,
  decode,
  type CodeSize,
} from "./decode.ts";

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.split(" "), (byte) => Number.parseInt(byte, 16));
}

describe("decode", () => {
  it.each<[CodeSize, string]>([
    [64, "cc"],
    [64, "48 b8 01 02 03 04 05 06 07 08"], // movabs rax
    [64, "66 b8 01 02"],
    [64, "48 c7 84 24 00 01 00 00 ff ff ff ff"], // mov qword [rsp+0x100], -1
    [64, "f6 05 01 02 03 04 05"], // test byte [rip+…], imm8
    [64, "f7 14 25 00 00 00 00"], // not dword [0]
    [64, "48 f7 c0 01 00 00 00"], // test rax, imm32
    [64, "48 f7 d8"], // neg rax
    [64, "c8 10 00 01"], // enter
    [64, "e8 00 00 00 00"],
    [64, "66 e8 00 00 00 00"],
    [64, "a1 01 02 03 04 05 06 07 08"],
    [64, "67 a1 01 02 03 04"],
    [64, "0f 22 04"], // mov cr0, rsp although "mod" is 0
    [64, "f0 48 0f c7 4e 10"],
    [64, "66 0f 3a 0f c1 08"],
    [64, "66 0f 38 f6 44 8a 7f"],
    [64, "c5 f8 77"],
    [64, "c4 e3 fb f0 c3 13"],
    [64, "62 f3 7d 48 3f c2 00"],
    [32, "62 06"], // bound
    [32, "c5 06"], // lds
    [32, "9a 01 02 03 04 05 06"],
    [32, "66 9a 01 02 03 04"],
    [32, "67 8b 46 10"], // mov eax, [bp+0x10]
    [16, "8b 06 34 12"], // mov ax, [0x1234]
    [16, "66 67 8b 84 24 00 01 00 00"],
    [16, "e9 00 00"],
  ])("knows the length of %i-bit %s, whatever follows it", (codeSize, hex) => {
    const code = bytes(hex);
    const followed = Uint8Array.of(...code, 0xcc, 0xcc, 0xcc);
    expect(decode(followed, codeSize)).toMatchObject({
      length: code.length,
      truncated: false,
      invalid: false,
    });
    for (let length = 0; length < code.length; length++)
      expect(decode(code.subarray(0, length), codeSize).truncated).toBe(true);
  });

  it("decodes prefixes, ModRM and SIB", () => {
    // gs: lock cmpxchg16b [r12+r9*8-0x80], in front of it a 66 that counts for nothing
    expect(decode(bytes("65 f0 66 4b 0f c7 4c cc 80"), 64)).toMatchObject({
      segmentOverride: GS,
      lock: true,
      operandSizePrefix: true,
      prefix: PREFIX_66,
      w: true,
      map: MAP_0F,
      opcode: 0xc7,
      group: 1,
      memory: true,
      base: 12,
      index: 9,
      scale: 8,
      displacement: -128,
      operandSize: 8,
    });
  });

  it("ignores a REX prefix that is not the last one", () => {
    expect(decode(bytes("48 66 90"), 64)).toMatchObject({ rex: 0, operandSize: 2, length: 3 });
  });

  it("knows RIP-relative addressing from its 32-bit twin", () => {
    expect(decode(bytes("8b 05 10 00 00 00"), 64)).toMatchObject({ ripRelative: true, base: -1 });
    expect(decode(bytes("8b 05 10 00 00 00"), 32)).toMatchObject({ ripRelative: false, base: -1 });
  });

  it("decodes VEX and EVEX prefixes", () => {
    expect(decode(bytes("c4 42 b8 f2 c3"), 64)).toMatchObject({
      encoding: ENCODING_VEX,
      map: MAP_0F38,
      opcode: 0xf2,
      w: true,
      vvvv: 8,
      reg: 8,
      rm: 11,
      vectorLength: 0,
    });
    expect(decode(bytes("62 93 25 22 3e ee 01"), 64)).toMatchObject({
      encoding: ENCODING_EVEX,
      map: MAP_0F3A,
      vvvv: 27,
      reg: 5,
      rm: 30,
      vectorLength: 1,
      opmask: 2,
      immediate: 1,
    });
    expect(decode(bytes("f3 0f 1e fa"), 64)).toMatchObject({ prefix: PREFIX_F3, opcode: 0x1e });
  });

  it("refuses what is not an instruction", () => {
    for (const hex of ["06", "0f 04", "0f 24 00", "f0 c5 f8 77", "48 c5 f8 77", "8f e8 78 c2 ec 0e"])
      expect(decode(bytes(`${hex} 00 00 00 00`), 64).invalid, hex).toBe(true);
    expect(decode(new Uint8Array(20).fill(0x66), 64)).toMatchObject({ invalid: true, truncated: false });
  });

  it("is total", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 20 }),
        fc.constantFrom<CodeSize>(16, 32, 64),
        (code, codeSize) => {
          const insn = decode(code, codeSize);
          expect(insn.length).toBeGreaterThan(0);
          expect(insn.length).toBeLessThanOrEqual(30);
          if (!insn.truncated && !insn.invalid) {
            expect(insn.length).toBeLessThanOrEqual(Math.min(15, code.length));
            // More bytes behind it change nothing.
            expect(decode(Uint8Array.of(...code, 0xf0, 0x66), codeSize)).toEqual(insn);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
