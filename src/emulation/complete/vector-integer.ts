/**
 * The integer vector instructions that kernels use outside cryptography (memory clearing, checksums, string scans):
 * logic, PADD*, PSUB*, PCMPEQ*, PUNPCK*, PSHUFD, PSHUFB, PMOVMSKB, immediate shifts. XMM and YMM, legacy and VEX.
 * YMM forms work on each 16-byte lane by itself. Intel SDM volumes 2A and 2B, the pages of those names.
 */
import type { AssistCpu } from "../cpu.ts";
import {
  ENCODING_LEGACY,
  ENCODING_VEX,
  MAP_0F,
  MAP_0F38,
  PREFIX_66,
  PREFIX_NONE,
  type Instruction,
} from "../decode.ts";
import { writeRegister } from "../registers.ts";
import { NEXT, NOT_HANDLED, type Completer, type OpcodeEntry, type Outcome } from "./family.ts";
import {
  readVector,
  readVectorOperand,
  requireVectors,
  vectorBytes,
  writeVector,
} from "./vector-registers.ts";

/** Changes 16 bytes of `a`, the first source, with the same 16 bytes of `b`, the second; `out` begins as zeros. */
type LaneOperation = (out: DataView, a: DataView, b: DataView, immediate: number) => void;

function eachByte(change: (a: number, b: number) => number): LaneOperation {
  return (out, a, b) => {
    for (let at = 0; at < 16; at++) out.setUint8(at, change(a.getUint8(at), b.getUint8(at)));
  };
}

function each16(change: (a: number, b: number) => number): LaneOperation {
  return (out, a, b) => {
    for (let at = 0; at < 16; at += 2)
      out.setUint16(at, change(a.getUint16(at, true), b.getUint16(at, true)), true);
  };
}

function each32(change: (a: number, b: number) => number): LaneOperation {
  return (out, a, b) => {
    for (let at = 0; at < 16; at += 4)
      out.setUint32(at, change(a.getUint32(at, true), b.getUint32(at, true)), true);
  };
}

function each64(change: (a: bigint, b: bigint) => bigint): LaneOperation {
  return (out, a, b) => {
    for (let at = 0; at < 16; at += 8)
      out.setBigUint64(at, change(a.getBigUint64(at, true), b.getBigUint64(at, true)), true);
  };
}

const add = (a: number, b: number): number => a + b;
const subtract = (a: number, b: number): number => a - b;
const and = each32((a, b) => a & b);
const andNot = each32((a, b) => ~a & b);
const or = each32((a, b) => a | b);
const exclusiveOr = each32((a, b) => a ^ b);

/** Interleaves elements of `size` bytes from the low (`from` 0) or high (`from` 8) halves. */
function interleave(size: number, from: number): LaneOperation {
  return (out, a, b) => {
    for (let at = 0; at < 8; at++) {
      const to = Math.floor(at / size) * 2 * size + (at % size);
      out.setUint8(to, a.getUint8(from + at));
      out.setUint8(to + size, b.getUint8(from + at));
    }
  };
}

/** By opcode in map 0F, with a 66 prefix. */
const OPERATIONS = new Map<number, LaneOperation>([
  [0xdb, and],
  [0xdf, andNot],
  [0xeb, or],
  [0xef, exclusiveOr],
  [0xfc, eachByte(add)],
  [0xfd, each16(add)],
  [0xfe, each32(add)],
  [0xd4, each64((a, b) => a + b)],
  [0xf8, eachByte(subtract)],
  [0xf9, each16(subtract)],
  [0xfa, each32(subtract)],
  [0xfb, each64((a, b) => a - b)],
  [0x74, eachByte((a, b) => (a === b ? 0xff : 0))],
  [0x75, each16((a, b) => (a === b ? 0xffff : 0))],
  [0x76, each32((a, b) => (a === b ? 0xffff_ffff : 0))],
  [0x60, interleave(1, 0)],
  [0x61, interleave(2, 0)],
  [0x62, interleave(4, 0)],
  [0x6c, interleave(8, 0)],
  [0x68, interleave(1, 8)],
  [0x69, interleave(2, 8)],
  [0x6a, interleave(4, 8)],
  [0x6d, interleave(8, 8)],
]);

/** 54 to 57: ANDPS, ANDNPS, ORPS, XORPS, and the PD forms with 66. */
const FLOAT_LOGIC = [and, andNot, or, exclusiveOr];

const shuffleWords: LaneOperation = (out, _a, b, immediate) => {
  for (let word = 0; word < 4; word++)
    out.setUint32(word * 4, b.getUint32(((immediate >> (word * 2)) & 3) * 4, true), true);
};

const shuffleBytes: LaneOperation = (out, a, b) => {
  for (let at = 0; at < 16; at++) {
    const selector = b.getUint8(at);
    if (selector < 0x80) out.setUint8(at, a.getUint8(selector & 15));
  }
};

/** Applies `operation` lane by lane and writes the result to register `to`. */
function apply(
  cpu: AssistCpu,
  area: Uint8Array,
  insn: Instruction,
  operation: LaneOperation,
  to: number,
  a: Uint8Array,
  b: Uint8Array,
): Outcome {
  const out = new Uint8Array(a.length);
  for (let lane = 0; lane < a.length; lane += 16) {
    const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, lane, 16);
    operation(view(out), view(a), view(b), insn.immediate & 0xff);
  }
  writeVector(cpu, area, insn, to, out);
  cpu.setXsave(area);
  return NEXT;
}

/** destination = operation(first source, r/m): the first source is VEX.vvvv, or the destination itself. */
function applyToOperands(cpu: AssistCpu, insn: Instruction, operation: LaneOperation): Outcome {
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  const size = vectorBytes(insn);
  const vex = insn.encoding === ENCODING_VEX;
  const b = readVectorOperand(cpu, area, insn, size, !vex);
  return apply(
    cpu,
    area,
    insn,
    operation,
    insn.reg,
    readVector(cpu, area, vex ? insn.vvvv : insn.reg, size),
    b,
  );
}

function completePacked(cpu: AssistCpu, insn: Instruction): Outcome {
  const operation = OPERATIONS.get(insn.opcode);
  return insn.prefix === PREFIX_66 && operation !== undefined
    ? applyToOperands(cpu, insn, operation)
    : NOT_HANDLED;
}

function completeFloatLogic(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_NONE && insn.prefix !== PREFIX_66) return NOT_HANDLED;
  return applyToOperands(cpu, insn, FLOAT_LOGIC[insn.opcode - 0x54]!);
}

function completePshufb(cpu: AssistCpu, insn: Instruction): Outcome {
  return insn.prefix === PREFIX_66 ? applyToOperands(cpu, insn, shuffleBytes) : NOT_HANDLED;
}

function completePshufd(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_66) return NOT_HANDLED;
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  const source = readVectorOperand(cpu, area, insn, vectorBytes(insn), insn.encoding === ENCODING_LEGACY);
  return apply(cpu, area, insn, shuffleWords, insn.reg, source, source);
}

function completePmovmskb(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_66 || insn.memory) return NOT_HANDLED;
  requireVectors(cpu, insn);
  let mask = 0;
  readVector(cpu, cpu.getXsave(), insn.rm, vectorBytes(insn)).forEach((byte, at) => {
    mask |= (byte >> 7) << at;
  });
  writeRegister(cpu, insn.reg, 8, BigInt(mask >>> 0));
  return NEXT;
}

/** The shift by an immediate that a group 12 to 14 instruction does, or undefined. */
function immediateShift(insn: Instruction): LaneOperation | undefined {
  const count = insn.immediate & 0xff;
  switch ((insn.opcode << 4) | insn.group) {
    case 0x712:
      return each16((a) => (count > 15 ? 0 : a >>> count));
    case 0x714:
      return each16((a) => ((a << 16) >> 16) >> Math.min(count, 15));
    case 0x716:
      return each16((a) => (count > 15 ? 0 : a << count));
    case 0x722:
      return each32((a) => (count > 31 ? 0 : a >>> count));
    case 0x724:
      return each32((a) => (a | 0) >> Math.min(count, 31));
    case 0x726:
      return each32((a) => (count > 31 ? 0 : a << count));
    case 0x732:
      return each64((a) => a >> BigInt(count));
    case 0x736:
      return each64((a) => BigInt.asUintN(64, a << BigInt(count)));
    case 0x733:
      return (out, a) => {
        for (let at = 0; at + count < 16; at++) out.setUint8(at, a.getUint8(at + count));
      };
    case 0x737:
      return (out, a) => {
        for (let at = count; at < 16; at++) out.setUint8(at, a.getUint8(at - count));
      };
    default:
      return undefined;
  }
}

/** 71 to 73: the destination is VEX.vvvv, or r/m itself. */
function completeShift(cpu: AssistCpu, insn: Instruction): Outcome {
  const operation = immediateShift(insn);
  if (insn.prefix !== PREFIX_66 || insn.memory || operation === undefined) return NOT_HANDLED;
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  const source = readVector(cpu, area, insn.rm, vectorBytes(insn));
  return apply(
    cpu,
    area,
    insn,
    operation,
    insn.encoding === ENCODING_VEX ? insn.vvvv : insn.rm,
    source,
    source,
  );
}

function both(opcodes: readonly number[], complete: Completer, map = MAP_0F): OpcodeEntry[] {
  return [ENCODING_LEGACY, ENCODING_VEX].map((encoding) => ({ encoding, map, opcodes, complete }));
}

export const vectorIntegers: readonly OpcodeEntry[] = [
  ...both([...OPERATIONS.keys()], completePacked),
  ...both([0x54, 0x55, 0x56, 0x57], completeFloatLogic),
  ...both([0x70], completePshufd),
  ...both([0x71, 0x72, 0x73], completeShift),
  ...both([0xd7], completePmovmskb),
  ...both([0x00], completePshufb, MAP_0F38),
];
