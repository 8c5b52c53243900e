/**
 * The instruction decoder: prefixes, opcode, ModRM, SIB, displacement and immediate of one instruction, in 16, 32 and
 * 64-bit code. Intel SDM volume 2A chapter 2 (formats) and appendix A (opcode maps). It knows shapes, not meanings:
 *
 *     [legacy prefixes] [REX] opcode [ModRM [SIB] [displacement]] [immediate]
 *     VEX  C5 RvvvvLpp            opcode ModRM …        map 0F
 *     VEX  C4 RXBmmmmm WvvvvLpp   opcode ModRM …        map mmmmm
 *     EVEX 62 …                   opcode ModRM …        map mmm
 *
 * Total on any bytes: it reads zeros beyond the end and says `truncated`.
 */
import {
  EVEX_MAP,
  FAR_POINTER,
  IMMEDIATE_8,
  IMMEDIATE_16,
  IMMEDIATE_Z,
  INVALID,
  INVALID_64,
  LEGACY_MAPS,
  MODRM,
  OFFSET,
  IMMEDIATE_V,
  RELATIVE_Z,
  TEST_IMMEDIATE,
} from "./opcode-shapes.ts";

export type CodeSize = 16 | 32 | 64;

/** The longest legal instruction, in bytes. */
export const MAX_INSTRUCTION_LENGTH = 15;

/** Opcode maps by number, the same in legacy, VEX and EVEX encodings. */
export const MAP_ONE_BYTE = 0;
export const MAP_0F = 1;
export const MAP_0F38 = 2;
export const MAP_0F3A = 3;

/** Mandatory prefix numbers as VEX.pp has them. */
export const PREFIX_NONE = 0;
export const PREFIX_66 = 1;
export const PREFIX_F3 = 2;
export const PREFIX_F2 = 3;

export const ENCODING_LEGACY = 0;
export const ENCODING_VEX = 1;
export const ENCODING_EVEX = 2;

/** Segment register numbers. */
export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;
export const FS = 4;
export const GS = 5;

/** One decoded instruction. */
export class Instruction {
  codeSize: CodeSize = 64;
  /** Bytes from the first prefix to the last immediate byte. */
  length = 0;
  /** More bytes are needed than there were; the other fields mean nothing. */
  truncated = false;
  /** Not a possible encoding (#UD). */
  invalid = false;

  encoding = ENCODING_LEGACY;
  map = MAP_ONE_BYTE;
  opcode = 0;
  /** The mandatory prefix: VEX.pp, or in legacy encodings F2/F3 (the last one wins) before 66. */
  prefix = PREFIX_NONE;
  /** Whether a 66 prefix stands there (legacy encodings). */
  operandSizePrefix = false;
  /** 0, or the last of F2 and F3 (legacy encodings). */
  repeat = 0;
  lock = false;
  /** Segment override number, or -1. */
  segmentOverride = -1;
  /** The REX byte, or 0. */
  rex = 0;
  /** REX.W, VEX.W or EVEX.W. */
  w = false;
  /** VEX.L or EVEX.L'L: 0 for 128, 1 for 256, 2 for 512 bits. */
  vectorLength = 0;
  /** VEX.vvvv or EVEX.V'vvvv, not inverted. */
  vvvv = 0;
  /** EVEX.aaa, the opmask register. */
  opmask = 0;
  /** EVEX.z. */
  zeroing = false;
  /** EVEX.b: broadcast or rounding. */
  broadcast = false;

  /** 2, 4 or 8 bytes. */
  operandSize = 4;
  /** 2, 4 or 8 bytes. */
  addressSize = 8;

  hasModrm = false;
  /** ModRM.mod. */
  mod = 0;
  /** ModRM.reg without extension: the opcode extension of group instructions. */
  group = 0;
  /** ModRM.reg with REX.R (and EVEX.R'). */
  reg = 0;
  /** ModRM.rm with REX.B (and EVEX.X for vector registers). */
  rm = 0;
  /** The ModRM operand is in memory. */
  memory = false;
  /** Base register number, or -1. */
  base = -1;
  /** Index register number, or -1. */
  index = -1;
  scale = 1;
  /** Sign-extended. */
  displacement = 0;
  displacementSize = 0;
  ripRelative = false;

  /** Sign-extended; of 8-byte immediates and offsets the low half. */
  immediate = 0;
  /** The upper half of an 8-byte immediate or offset. */
  immediateHigh = 0;
  /** Bytes, 0 where there is none. */
  immediateSize = 0;
  /** ENTER's nesting level, a far pointer's selector. */
  secondImmediate = 0;
}

/** Reads the bytes of one instruction; past the end it reads zeros and remembers. */
class ByteReader {
  position = 0;
  #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get exhausted(): boolean {
    return this.position > this.#bytes.length;
  }

  peek(): number {
    return this.#bytes[this.position] ?? 0;
  }

  u8(): number {
    return this.#bytes[this.position++] ?? 0;
  }

  s8(): number {
    return (this.u8() << 24) >> 24;
  }

  u16(): number {
    return this.u8() | (this.u8() << 8);
  }

  s16(): number {
    return (this.u16() << 16) >> 16;
  }

  s32(): number {
    return this.u16() | (this.u16() << 16);
  }
}

/** Decodes the instruction at the start of `bytes`; trailing bytes of later instructions do no harm. */
export function decode(bytes: Uint8Array, codeSize: CodeSize): Instruction {
  const insn = new Instruction();
  const reader = new ByteReader(bytes);
  insn.codeSize = codeSize;
  let addressSizePrefix = false;
  let opcode = 0;
  prefixes: for (;;) {
    opcode = reader.u8();
    if (reader.position > MAX_INSTRUCTION_LENGTH) break;
    if (codeSize === 64 && (opcode & 0xf0) === 0x40) {
      insn.rex = opcode;
      continue;
    }
    switch (opcode) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
        // Without effect in 64-bit code, not even on an earlier FS or GS override.
        if (codeSize !== 64) insn.segmentOverride = (opcode >> 3) & 3;
        break;
      case 0x64:
      case 0x65:
        insn.segmentOverride = opcode - 0x60;
        break;
      case 0x66:
        insn.operandSizePrefix = true;
        break;
      case 0x67:
        addressSizePrefix = true;
        break;
      case 0xf0:
        insn.lock = true;
        break;
      case 0xf2:
      case 0xf3:
        insn.repeat = opcode;
        break;
      default:
        break prefixes;
    }
    // REX counts only directly before the opcode.
    insn.rex = 0;
  }
  if (codeSize === 64) insn.addressSize = addressSizePrefix ? 4 : 8;
  else insn.addressSize = (codeSize === 16) !== addressSizePrefix ? 2 : 4;

  const shape = readOpcode(insn, reader, opcode);
  insn.operandSize = operandSize(insn);
  if ((shape & INVALID) !== 0 || ((shape & INVALID_64) !== 0 && codeSize === 64)) insn.invalid = true;
  else {
    if ((shape & MODRM) !== 0) readModrm(insn, reader);
    readImmediate(insn, reader, shape);
  }
  insn.length = reader.position;
  insn.truncated = reader.exhausted && reader.position <= MAX_INSTRUCTION_LENGTH;
  if (reader.position > MAX_INSTRUCTION_LENGTH) insn.invalid = true;
  return insn;
}

function operandSize(insn: Instruction): number {
  if (insn.codeSize === 64 && insn.w) return 8;
  const prefix66 = insn.encoding === ENCODING_LEGACY && insn.operandSizePrefix;
  return (insn.codeSize === 16) !== prefix66 ? 2 : 4;
}

/** Reads the opcode with its escapes or VEX/EVEX prefix; returns the shape of what follows. */
function readOpcode(insn: Instruction, reader: ByteReader, first: number): number {
  insn.w = (insn.rex & 8) !== 0;
  // In 16 and 32-bit code C4, C5 and 62 are LES, LDS and BOUND unless "ModRM.mod" is 3.
  const extended = insn.codeSize === 64 || (reader.peek() & 0xc0) === 0xc0;
  if (extended && first === 0xc5) return readVex2(insn, reader);
  if (extended && first === 0xc4) return readVex3(insn, reader);
  if (extended && first === 0x62) return readEvex(insn, reader);
  insn.prefix =
    insn.repeat === 0xf3
      ? PREFIX_F3
      : insn.repeat === 0xf2
        ? PREFIX_F2
        : insn.operandSizePrefix
          ? PREFIX_66
          : PREFIX_NONE;
  insn.opcode = first;
  if (first === 0x0f) {
    insn.opcode = reader.u8();
    insn.map = insn.opcode === 0x38 ? MAP_0F38 : insn.opcode === 0x3a ? MAP_0F3A : MAP_0F;
    if (insn.map !== MAP_0F) insn.opcode = reader.u8();
  }
  const shape = LEGACY_MAPS[insn.map]![insn.opcode]!;
  // 8F with a ModRM.reg other than 0 is AMD's XOP prefix, which nothing here knows.
  if (insn.map === MAP_ONE_BYTE && first === 0x8f && (reader.peek() & 0x38) !== 0) return INVALID;
  return shape;
}

/** Prefixes a VEX or EVEX instruction may not have. */
function hasForbiddenPrefix(insn: Instruction): boolean {
  return insn.rex !== 0 || insn.lock || insn.repeat !== 0 || insn.operandSizePrefix;
}

function readVex2(insn: Instruction, reader: ByteReader): number {
  const forbidden = hasForbiddenPrefix(insn);
  const byte1 = reader.u8();
  insn.encoding = ENCODING_VEX;
  insn.rex = (byte1 & 0x80) === 0 ? 4 : 0;
  readVvvvLpp(insn, byte1);
  insn.map = MAP_0F;
  return vexShape(insn, reader, forbidden);
}

function readVex3(insn: Instruction, reader: ByteReader): number {
  const forbidden = hasForbiddenPrefix(insn);
  const byte1 = reader.u8();
  const byte2 = reader.u8();
  insn.encoding = ENCODING_VEX;
  // R, X and B are stored inverted; their order is that of REX.
  insn.rex = (~byte1 >> 5) & 7;
  insn.map = byte1 & 0x1f;
  insn.w = (byte2 & 0x80) !== 0;
  readVvvvLpp(insn, byte2);
  return vexShape(insn, reader, forbidden);
}

function readVvvvLpp(insn: Instruction, byte: number): void {
  insn.vvvv = (~byte >> 3) & (insn.codeSize === 64 ? 15 : 7);
  insn.vectorLength = (byte >> 2) & 1;
  insn.prefix = byte & 3;
}

function vexShape(insn: Instruction, reader: ByteReader, forbidden: boolean): number {
  insn.opcode = reader.u8();
  if (insn.codeSize !== 64) insn.rex = 0;
  if (forbidden || insn.map < MAP_0F || insn.map > MAP_0F3A) return INVALID;
  if (insn.map === MAP_0F && insn.opcode === 0x77) return 0;
  return LEGACY_MAPS[insn.map]![insn.opcode]! | MODRM;
}

function readEvex(insn: Instruction, reader: ByteReader): number {
  const forbidden = hasForbiddenPrefix(insn);
  const byte1 = reader.u8();
  const byte2 = reader.u8();
  const byte3 = reader.u8();
  insn.encoding = ENCODING_EVEX;
  insn.map = byte1 & 7;
  insn.w = (byte2 & 0x80) !== 0;
  insn.prefix = byte2 & 3;
  insn.vvvv = (~byte2 >> 3) & 15;
  insn.vectorLength = (byte3 >> 5) & 3;
  insn.opmask = byte3 & 7;
  insn.zeroing = (byte3 & 0x80) !== 0;
  insn.broadcast = (byte3 & 0x10) !== 0;
  if (insn.codeSize === 64) {
    insn.rex = (~byte1 >> 5) & 7;
    if ((byte1 & 0x10) === 0) insn.reg = 16;
    if ((byte3 & 0x08) === 0) insn.vvvv |= 16;
  }
  insn.opcode = reader.u8();
  if (forbidden || (byte1 & 8) !== 0 || (byte2 & 4) === 0) return INVALID;
  return EVEX_MAP[insn.map] === undefined ? INVALID : EVEX_MAP[insn.map]![insn.opcode]! | MODRM;
}

function readModrm(insn: Instruction, reader: ByteReader): void {
  const modrm = reader.u8();
  insn.hasModrm = true;
  insn.mod = modrm >> 6;
  insn.group = (modrm >> 3) & 7;
  // readEvex left the fifth bit in `reg`.
  insn.reg |= insn.group | ((insn.rex & 4) << 1);
  const rm = modrm & 7;
  insn.rm = rm | ((insn.rex & 1) << 3);
  // MOV to and from control and debug registers has no memory form whatever ModRM.mod says.
  const registersOnly =
    insn.map === MAP_0F && insn.encoding === ENCODING_LEGACY && (insn.opcode & 0xfc) === 0x20;
  if (insn.mod === 3 || registersOnly) {
    if (insn.encoding === ENCODING_EVEX) insn.rm |= (insn.rex & 2) << 3;
    return;
  }
  insn.memory = true;
  if (insn.addressSize === 2) readAddress16(insn, reader, rm);
  else readAddress(insn, reader, rm);
}

/** Base registers of the 16-bit forms: BX+SI BX+DI BP+SI BP+DI SI DI BP BX (volume 2A table 2-1). */
const BASE_16 = [3, 3, 5, 5, 6, 7, 5, 3];
const INDEX_16 = [6, 7, 6, 7, -1, -1, -1, -1];

function readAddress16(insn: Instruction, reader: ByteReader, rm: number): void {
  insn.base = BASE_16[rm]!;
  insn.index = INDEX_16[rm]!;
  if (insn.mod === 0 && rm === 6) {
    insn.base = -1;
    insn.displacement = reader.s16();
    insn.displacementSize = 2;
  } else if (insn.mod !== 0) readDisplacement(insn, reader, insn.mod === 1 ? 1 : 2);
}

function readAddress(insn: Instruction, reader: ByteReader, rm: number): void {
  let base = rm;
  insn.base = insn.rm;
  if (rm === 4) {
    const sib = reader.u8();
    base = sib & 7;
    insn.base = base | ((insn.rex & 1) << 3);
    insn.scale = 1 << (sib >> 6);
    const index = ((sib >> 3) & 7) | ((insn.rex & 2) << 2);
    // Number 4 means "none"; with REX.X it is R12.
    insn.index = index === 4 ? -1 : index;
  }
  if (insn.mod === 0 && base === 5) {
    insn.base = -1;
    insn.ripRelative = rm === 5 && insn.codeSize === 64;
    readDisplacement(insn, reader, 4);
  } else if (insn.mod !== 0) readDisplacement(insn, reader, insn.mod === 1 ? 1 : 4);
}

function readDisplacement(insn: Instruction, reader: ByteReader, size: number): void {
  insn.displacementSize = size;
  insn.displacement = size === 1 ? reader.s8() : size === 2 ? reader.s16() : reader.s32();
}

function readImmediate(insn: Instruction, reader: ByteReader, shape: number): void {
  const z = insn.operandSize === 2 ? 2 : 4;
  if ((shape & IMMEDIATE_8) !== 0) readSigned(insn, reader, 1);
  else if ((shape & IMMEDIATE_Z) !== 0) readSigned(insn, reader, z);
  // Near branches in 64-bit code take 32 bits with or without a 66 prefix.
  else if ((shape & RELATIVE_Z) !== 0) readSigned(insn, reader, insn.codeSize === 64 ? 4 : z);
  else if ((shape & IMMEDIATE_V) !== 0) readSigned(insn, reader, insn.operandSize);
  else if ((shape & OFFSET) !== 0) readSigned(insn, reader, insn.addressSize);
  else if ((shape & FAR_POINTER) !== 0) readSigned(insn, reader, z);
  else if ((shape & IMMEDIATE_16) !== 0) readSigned(insn, reader, 2);
  // TEST is the only member of groups 3 (F6 and F7) with an immediate.
  else if ((shape & TEST_IMMEDIATE) !== 0 && insn.group < 2)
    readSigned(insn, reader, insn.opcode === 0xf6 ? 1 : z);
  if ((shape & FAR_POINTER) !== 0) insn.secondImmediate = reader.u16();
  if (insn.opcode === 0xc8 && insn.map === MAP_ONE_BYTE) insn.secondImmediate = reader.u8();
}

function readSigned(insn: Instruction, reader: ByteReader, size: number): void {
  insn.immediateSize = size;
  if (size === 1) insn.immediate = reader.s8();
  else if (size === 2) insn.immediate = reader.s16();
  else insn.immediate = reader.s32();
  if (size === 8) insn.immediateHigh = reader.s32();
}
