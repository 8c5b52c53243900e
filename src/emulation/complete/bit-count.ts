/** POPCNT, LZCNT, TZCNT, BSF and BSR. Intel SDM volumes 2A and 2B, the pages of that name. */
import type { AssistCpu } from "../cpu.ts";
import { ENCODING_LEGACY, MAP_0F, PREFIX_F3, type Instruction } from "../decode.ts";
import { CF, RFLAGS, ZF, setStatusFlags, writeRegister } from "../registers.ts";
import { NEXT, NOT_HANDLED, type OpcodeEntry, type Outcome } from "./family.ts";
import { readGeneralOperand } from "./operands.ts";

/** Bits set in a 32-bit number. */
export function populationCount(word: number): number {
  let count = word - ((word >>> 1) & 0x5555_5555);
  count = (count & 0x3333_3333) + ((count >>> 2) & 0x3333_3333);
  return Math.imul((count + (count >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

function halves(value: bigint): [low: number, high: number] {
  return [Number(BigInt.asUintN(32, value)), Number(value >> 32n)];
}

function leadingZeros(value: bigint, bits: number): number {
  const [low, high] = halves(value);
  return (high === 0 ? 32 + Math.clz32(low) : Math.clz32(high)) - (64 - bits);
}

function trailingZeros(value: bigint, bits: number): number {
  const [low, high] = halves(value);
  if (low !== 0) return 31 - Math.clz32(low & -low);
  return high === 0 ? bits : 63 - Math.clz32(high & -high);
}

function completePopcnt(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_F3) return NOT_HANDLED;
  const [low, high] = halves(readGeneralOperand(cpu, insn, insn.operandSize));
  const count = populationCount(low) + populationCount(high);
  writeRegister(cpu, insn.reg, insn.operandSize, BigInt(count));
  setStatusFlags(cpu, count === 0 ? ZF : 0n);
  return NEXT;
}

/** BC is TZCNT with F3 and BSF without, BD is LZCNT and BSR. */
function completeScan(cpu: AssistCpu, insn: Instruction): Outcome {
  const bits = insn.operandSize * 8;
  const source = readGeneralOperand(cpu, insn, insn.operandSize);
  const backwards = insn.opcode === 0xbd;
  const flags = cpu.regs[RFLAGS]! & ~(CF | ZF);
  if (insn.prefix === PREFIX_F3) {
    const count = backwards ? leadingZeros(source, bits) : trailingZeros(source, bits);
    writeRegister(cpu, insn.reg, insn.operandSize, BigInt(count));
    cpu.regs[RFLAGS] = flags | (count === bits ? CF : 0n) | (count === 0 ? ZF : 0n);
    return NEXT;
  }
  // BSF and BSR of zero leave the destination as it is.
  if (source === 0n) cpu.regs[RFLAGS] = flags | ZF;
  else {
    const position = backwards ? bits - 1 - leadingZeros(source, bits) : trailingZeros(source, bits);
    writeRegister(cpu, insn.reg, insn.operandSize, BigInt(position));
    cpu.regs[RFLAGS] = flags;
  }
  return NEXT;
}

export const bitCounts: readonly OpcodeEntry[] = [
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0xb8], complete: completePopcnt },
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0xbc, 0xbd], complete: completeScan },
];
