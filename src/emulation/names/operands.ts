/** Prints operands in Intel syntax, in the notation of the tables beside this file. */
import { ENCODING_EVEX, ENCODING_LEGACY, MAP_ONE_BYTE, type Instruction } from "../decode.ts";

const NAMES_64 = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];
const NAMES_32 = NAMES_64.map((name) => `e${name.slice(1)}`);
const NAMES_16 = NAMES_64.map((name) => name.slice(1));
const NAMES_8 = ["al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"];
const NAMES_8_REX = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"];
const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs", "?", "?"];
const VECTORS = ["xmm", "ymm", "zmm", "zmm"];

export function registerName(number: number, size: number, rex: boolean): string {
  if (number >= 8) return `r${number}${size === 8 ? "" : size === 4 ? "d" : size === 2 ? "w" : "b"}`;
  if (size === 8) return NAMES_64[number]!;
  if (size === 4) return NAMES_32[number]!;
  if (size === 2) return NAMES_16[number]!;
  return (rex ? NAMES_8_REX : NAMES_8)[number]!;
}

function hex(value: number | bigint): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

/** One operand; undefined where this encoding does not have it. */
export function printOperand(code: string, insn: Instruction, rip: bigint): string | undefined {
  const kind = code[0]!;
  if (kind >= "a" || kind === "1") return fixedOperand(code, insn);
  const size = operandBytes(code.slice(1), insn);
  switch (kind) {
    case "E":
      return insn.memory ? printMemory(insn) : registerName(insn.rm & 15, size, insn.rex !== 0);
    case "R":
      return registerName(insn.rm & 15, size, true);
    case "G":
      return registerName(insn.reg & 15, size, insn.rex !== 0);
    case "Z":
      return registerName((insn.opcode & 7) | ((insn.rex & 1) << 3), size, insn.rex !== 0);
    case "B":
      return registerName(insn.vvvv & 15, size, true);
    case "M":
      return insn.memory ? printMemory(insn) : registerName(insn.rm & 15, size, true);
    case "S":
      return SEGMENTS[insn.group]!;
    case "C":
      return `cr${insn.reg}`;
    case "D":
      return `dr${insn.reg}`;
    case "I":
      return printImmediate(code, insn);
    case "J":
      return hex(BigInt.asUintN(insn.codeSize, rip + BigInt(insn.length) + BigInt(insn.immediate)));
    case "O":
      return printOffset(insn);
    case "A":
      return `${hex(insn.secondImmediate)}:${hex(insn.immediate >>> 0)}`;
    default:
      return printVectorOperand(code, insn);
  }
}

/** `rax` stands for the accumulator of the operand size, `al`, `cl`, `dx`, `eax` and `1` for themselves. */
function fixedOperand(code: string, insn: Instruction): string {
  if (code === "rax") return registerName(0, insn.operandSize, false);
  return code === "eax" && insn.operandSize === 2 ? "ax" : code;
}

function operandBytes(size: string, insn: Instruction): number {
  switch (size) {
    case "b":
      return 1;
    case "w":
      return 2;
    case "d":
      return 4;
    case "q":
      return 8;
    case "y":
      return insn.operandSize === 8 ? 8 : 4;
    case "n":
      if (insn.operandSizePrefix && insn.encoding === ENCODING_LEGACY && insn.map === 0)
        return insn.operandSize;
      return insn.codeSize / 8;
    default:
      return insn.operandSize;
  }
}

function printImmediate(code: string, insn: Instruction): string {
  if (code === "I2") return hex(insn.secondImmediate);
  if (code === "Iu" || code === "Iw") return hex(insn.immediate & (code === "Iu" ? 0xff : 0xffff));
  // Selectors of vector instructions, shift and bit counts.
  if (insn.immediateSize === 1 && insn.map !== MAP_ONE_BYTE) return hex(insn.immediate & 0xff);
  if (insn.immediateSize === 8) {
    return hex((BigInt(insn.immediateHigh >>> 0) << 32n) | BigInt(insn.immediate >>> 0));
  }
  return hex(insn.immediate);
}

function printOffset(insn: Instruction): string {
  const high = BigInt(insn.immediateHigh) << 32n;
  const offset = BigInt.asUintN(insn.immediateSize * 8, high | BigInt(insn.immediate >>> 0));
  return `${segmentPrefix(insn) || "ds:"}${hex(offset)}`;
}

function segmentPrefix(insn: Instruction): string {
  return insn.segmentOverride < 0 ? "" : `${SEGMENTS[insn.segmentOverride]!}:`;
}

export function printMemory(insn: Instruction): string {
  const displacement = insn.displacement * displacementScale(insn);
  const parts: string[] = [];
  if (insn.ripRelative) parts.push(insn.addressSize === 8 ? "rip" : "eip");
  if (insn.base >= 0) parts.push(registerName(insn.base, insn.addressSize, true));
  if (insn.index >= 0) {
    const index = registerName(insn.index, insn.addressSize, true);
    parts.push(insn.addressSize === 2 ? index : `${index}*${insn.scale}`);
  }
  if (parts.length === 0) {
    const absolute = BigInt.asUintN(insn.addressSize * 8, BigInt(displacement));
    return `${segmentPrefix(insn) || "ds:"}${hex(absolute)}`;
  }
  const sum = parts.join("+");
  const sign = displacement < 0 ? "-" : "+";
  const tail = insn.displacementSize === 0 ? "" : `${sign}0x${Math.abs(displacement).toString(16)}`;
  return `${segmentPrefix(insn)}[${sum}${tail}]`;
}

/** EVEX scales 8-bit displacements, by the vector length or by the element that is broadcast. */
function displacementScale(insn: Instruction): number {
  if (insn.encoding !== ENCODING_EVEX || insn.displacementSize !== 1) return 1;
  if (insn.broadcast) return insn.w ? 8 : 4;
  return 16 << Math.min(insn.vectorLength, 2);
}

function printVectorOperand(code: string, insn: Instruction): string | undefined {
  const name = code[1] === "o" ? "xmm" : VECTORS[insn.vectorLength]!;
  switch (code[0]) {
    case "V":
      return `${name}${insn.reg}`;
    case "W":
      return insn.memory ? printMemory(insn) : `${name}${insn.rm}`;
    case "U":
      return insn.memory ? printMemory(insn) : `${name}${insn.rm}`;
    case "H":
      return insn.encoding === ENCODING_LEGACY ? undefined : `${name}${insn.vvvv}`;
    case "X":
      return `${name}${(insn.immediate >> 4) & 15}`;
    case "P":
      return `mm${insn.group}`;
    case "Q":
    case "N":
      return insn.memory ? printMemory(insn) : `mm${insn.rm & 7}`;
    case "K":
      return printOpmask(code, insn);
    default:
      return undefined;
  }
}

function printOpmask(code: string, insn: Instruction): string {
  if (code === "KV") return `k${insn.reg & 7}`;
  if (code === "KH") return `k${insn.vvvv & 7}`;
  return insn.memory ? printMemory(insn) : `k${insn.rm & 7}`;
}

/** `{k1}{z}` behind an EVEX destination. */
export function opmaskSuffix(insn: Instruction): string {
  if (insn.encoding !== ENCODING_EVEX || insn.opmask === 0) return "";
  return `{k${insn.opmask}}${insn.zeroing ? "{z}" : ""}`;
}
