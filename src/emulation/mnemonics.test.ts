import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, type CodeSize } from "./decode.ts";
import { nameInstruction } from "./mnemonics.ts";

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.split(" "), (byte) => Number.parseInt(byte, 16));
}

describe("nameInstruction", () => {
  it.each([
    ["f0 48 0f c7 4e 10", "lock cmpxchg16b [rsi+0x10]"],
    ["c5 f5 ef c2", "vpxor ymm0, ymm1, ymm2"],
    ["66 0f ef c2", "pxor xmm0, xmm2"],
    ["0f c7 f0", "rdrand eax"],
    ["48 0f c7 f8", "rdseed rax"],
    ["f3 48 0f b8 c3", "popcnt rax, rbx"],
    ["0f 01 ca", "clac"],
    ["0f 01 f9", "rdtscp"],
    ["0f ae 27", "xsave [rdi]"],
    ["48 0f c7 27", "xsavec64 [rdi]"],
    ["c5 f8 77", "vzeroupper"],
    ["c4 e2 fb f5 c3", "pdep rax, rax, rbx"],
    ["d9 f2", "fptan"],
    ["d8 c1", "fadd st(1)"],
    ["f3 48 a5", "rep movs"],
    ["0f 45 c1", "cmovne eax, ecx"],
    ["0f 94 c0", "sete al"],
    ["74 fe", "je 0x1000"],
    ["e8 00 00 00 00", "call 0x1005"],
    ["8b 05 f0 ff ff ff", "mov eax, [rip-0x10]"],
    ["64 48 8b 04 25 28 00 00 00", "mov rax, fs:0x28"],
    ["4a 8d 44 e5 08", "lea rax, [rbp+r12*8+0x8]"],
    ["40 80 ce 01", "or sil, 0x1"],
    ["48 b8 ff ff ff ff ff ff ff 7f", "movabs rax, 0x7fffffffffffffff"],
    ["62 f3 7d 48 25 c2 00", "vpternlogd zmm0, zmm0, zmm2, 0x0"],
    ["62 f1 fe c9 6f 4f 01", "vmovdqu64 zmm1{k1}{z}, [rdi+0x40]"],
    ["66 0f 38 82 06", "invpcid rax, [rsi]"],
    ["0f 38 04 c1", "pmaddubsw mm0, mm1"],
    ["c4 e2 f1 98 c2", "vfmadd132pd xmm0, xmm1, xmm2"],
    ["0f 00 e8", "verw ax"],
    ["62 f2 7d 48 c4 c1", "(unnamed: evex 66 0f38 c4 /0)"],
    ["0f 04", "(invalid)"],
  ])("names %s %s", (hex, name) => {
    expect(nameInstruction(decode(bytes(hex), 64), 0x1000n)).toBe(name);
  });

  it("finds a name for anything", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 15, maxLength: 15 }),
        fc.constantFrom<CodeSize>(16, 32, 64),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        (code, codeSize, rip) => {
          const name = nameInstruction(decode(code, codeSize), rip);
          expect(name).not.toMatch(/undefined|NaN|#|!|~/);
          expect(name.length).toBeGreaterThan(1);
        },
      ),
      { numRuns: 5000 },
    );
  });
});
