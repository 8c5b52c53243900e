/**
 * What follows each opcode byte: a ModRM byte, an immediate, or neither. Intel SDM volume 2D appendix A, tables A-2
 * to A-5, boiled down to one character per opcode, sixteen per row:
 *
 *     .  nothing          M  ModRM               x  not an instruction      y  not one in 64-bit code
 *     b  imm8             B  ModRM and imm8      w  imm16                   e  imm16 and imm8 (ENTER)
 *     z  imm16/32         Z  ModRM and imm16/32  v  imm16/32/64             o  memory offset
 *     r  rel16/32         f  far pointer         g  ModRM, and an immediate with TEST (group 3)
 *     i  imm8, not in 64-bit code
 */

export const MODRM = 1 << 0;
export const IMMEDIATE_8 = 1 << 1;
/** As wide as the operand, at most 4 bytes. */
export const IMMEDIATE_Z = 1 << 2;
/** As wide as the operand. */
export const IMMEDIATE_V = 1 << 3;
export const IMMEDIATE_16 = 1 << 4;
export const RELATIVE_Z = 1 << 5;
/** As wide as an address. */
export const OFFSET = 1 << 6;
export const FAR_POINTER = 1 << 7;
export const TEST_IMMEDIATE = 1 << 8;
export const INVALID = 1 << 9;
export const INVALID_64 = 1 << 10;

const SHAPE_BY_LETTER: Readonly<Record<string, number>> = {
  ".": 0,
  M: MODRM,
  b: IMMEDIATE_8,
  B: MODRM | IMMEDIATE_8,
  w: IMMEDIATE_16,
  e: IMMEDIATE_16,
  z: IMMEDIATE_Z,
  Z: MODRM | IMMEDIATE_Z,
  v: IMMEDIATE_V,
  o: OFFSET,
  r: RELATIVE_Z,
  f: FAR_POINTER | INVALID_64,
  g: MODRM | TEST_IMMEDIATE,
  i: IMMEDIATE_8 | INVALID_64,
  y: INVALID_64,
  Y: MODRM | INVALID_64,
  x: INVALID,
};

function shapes(rows: readonly string[]): Uint16Array {
  return Uint16Array.from(rows.join(""), (letter) => SHAPE_BY_LETTER[letter]!);
}

const ALL_MODRM = "M".repeat(16);
const ALL_MODRM_IMM8 = "B".repeat(16);

const ONE_BYTE = shapes([
  "MMMMbzyyMMMMbzy.", // 00 add, or; 0F is the escape
  "MMMMbzyyMMMMbzyy", // 10 adc, sbb
  "MMMMbz.yMMMMbz.y", // 20 and, sub
  "MMMMbz.yMMMMbz.y", // 30 xor, cmp
  "................", // 40 inc, dec (REX in 64-bit code)
  "................", // 50 push, pop
  "yyYM....zZbB....", // 60 62 is EVEX in 64-bit code
  "bbbbbbbbbbbbbbbb", // 70 jcc
  "BZiBMMMMMMMMMMMM", // 80 groups 1 and 1A
  "..........f.....", // 90
  "oooo....bz......", // a0
  "bbbbbbbbvvvvvvvv", // b0
  "BBw.YYBZe.w..by.", // c0 C4 and C5 are VEX in 64-bit code
  "MMMMiiy.MMMMMMMM", // d0
  "bbbbbbbbrrfb....", // e0
  "......gg......MM", // f0
]);
// 82 has a ModRM byte as well; its letter only says that 64-bit code has no such opcode.
ONE_BYTE[0x82] = MODRM | IMMEDIATE_8 | INVALID_64;

const TWO_BYTE = shapes([
  "MMMMx.....x.xM.B", // 00 0F is 3DNow!, whose opcode comes last
  ALL_MODRM, // 10
  "MMMMxxxxMMMMMMMM", // 20
  "......x..x.xxxxx", // 30 38 and 3A are escapes
  ALL_MODRM, // 40
  ALL_MODRM, // 50
  ALL_MODRM, // 60
  "BBBBMMM.MMxxMMMM", // 70
  "rrrrrrrrrrrrrrrr", // 80
  ALL_MODRM, // 90
  "...MBMxx...MBMMM", // a0
  "MMMMMMMMMMBMMMMM", // b0
  "MMBMBBBM........", // c0
  ALL_MODRM, // d0
  ALL_MODRM, // e0
  ALL_MODRM, // f0
]);

const THREE_BYTE_38 = shapes(Array<string>(16).fill(ALL_MODRM));
const THREE_BYTE_3A = shapes(Array<string>(16).fill(ALL_MODRM_IMM8));

/** Shapes by map number and opcode, legacy and VEX encodings. */
export const LEGACY_MAPS: readonly Uint16Array[] = [ONE_BYTE, TWO_BYTE, THREE_BYTE_38, THREE_BYTE_3A];

/** 0F under EVEX: as legacy, but 78 to 7B exist. */
const EVEX_0F = Uint16Array.from(TWO_BYTE, (shape) => (shape & IMMEDIATE_8) | MODRM);

/** Shapes by EVEX map number; 5 and 6 hold AVX512-FP16. */
export const EVEX_MAP: readonly (Uint16Array | undefined)[] = [
  undefined,
  EVEX_0F,
  THREE_BYTE_38,
  THREE_BYTE_3A,
  undefined,
  THREE_BYTE_38,
  THREE_BYTE_38,
  undefined,
];
