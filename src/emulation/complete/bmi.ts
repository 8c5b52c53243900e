/** BMI1 and BMI2 (VEX-encoded general register instructions). Intel SDM volumes 2A to 2C, the pages of those names. */
import type { AssistCpu } from "../cpu.ts";
import {
  ENCODING_VEX,
  MAP_0F38,
  MAP_0F3A,
  PREFIX_66,
  PREFIX_F2,
  PREFIX_F3,
  PREFIX_NONE,
  type Instruction,
} from "../decode.ts";
import { CF, OF, RFLAGS, SF, ZF, readRegister, writeRegister } from "../registers.ts";
import { NEXT, NOT_HANDLED, type OpcodeEntry, type Outcome } from "./family.ts";
import { readGeneralOperand } from "./operands.ts";

const RDX_NUMBER = 2;

function widthOf(insn: Instruction): number {
  return insn.w && insn.codeSize === 64 ? 8 : 4;
}

/** Sets ZF, SF and CF by the result and clears OF; AF and PF, undefined, stay. */
function setLogicFlags(cpu: AssistCpu, result: bigint, size: number, carry: boolean): void {
  let flags = cpu.regs[RFLAGS]! & ~(CF | ZF | SF | OF);
  if (result === 0n) flags |= ZF;
  if (result >> BigInt(size * 8 - 1) !== 0n) flags |= SF;
  if (carry) flags |= CF;
  cpu.regs[RFLAGS] = flags;
}

function completeAndn(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_NONE || insn.vectorLength !== 0) return NOT_HANDLED;
  const size = widthOf(insn);
  const result = readGeneralOperand(cpu, insn, size) & ~readRegister(cpu, insn.vvvv, size);
  writeRegister(cpu, insn.reg, size, result);
  setLogicFlags(cpu, result, size, false);
  return NEXT;
}

/** Group 17: BLSR is /1, BLSMSK is /2, BLSI is /3. */
function completeLowestBit(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_NONE || insn.vectorLength !== 0 || insn.group < 1 || insn.group > 3)
    return NOT_HANDLED;
  const size = widthOf(insn);
  const source = readGeneralOperand(cpu, insn, size);
  const below = source - 1n;
  const wide = insn.group === 1 ? source & below : insn.group === 2 ? source ^ below : source & -source;
  const result = BigInt.asUintN(size * 8, wide);
  writeRegister(cpu, insn.vvvv, size, result);
  setLogicFlags(cpu, result, size, (source === 0n) !== (insn.group === 3));
  return NEXT;
}

/** F5: BZHI, PEXT with F3, PDEP with F2. */
function completeF5(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.vectorLength !== 0 || insn.prefix === PREFIX_66) return NOT_HANDLED;
  const size = widthOf(insn);
  const operand = readGeneralOperand(cpu, insn, size);
  const other = readRegister(cpu, insn.vvvv, size);
  if (insn.prefix === PREFIX_NONE) {
    const count = other & 0xffn;
    const carry = count >= BigInt(size * 8);
    const result = carry ? operand : BigInt.asUintN(Number(count), operand);
    writeRegister(cpu, insn.reg, size, result);
    setLogicFlags(cpu, result, size, carry);
  } else {
    const result = insn.prefix === PREFIX_F3 ? extractBits(other, operand) : depositBits(other, operand);
    writeRegister(cpu, insn.reg, size, result);
  }
  return NEXT;
}

/** The bits of `source` where `mask` has ones, packed. */
function extractBits(source: bigint, mask: bigint): bigint {
  let result = 0n;
  let to = 1n;
  for (let rest = mask; rest !== 0n; rest &= rest - 1n) {
    if ((source & rest & -rest) !== 0n) result |= to;
    to <<= 1n;
  }
  return result;
}

/** The low bits of `source` spread to where `mask` has ones. */
function depositBits(source: bigint, mask: bigint): bigint {
  let result = 0n;
  let from = 1n;
  for (let rest = mask; rest !== 0n; rest &= rest - 1n) {
    if ((source & from) !== 0n) result |= rest & -rest;
    from <<= 1n;
  }
  return result;
}

function completeMulx(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_F2 || insn.vectorLength !== 0) return NOT_HANDLED;
  const size = widthOf(insn);
  const product = readRegister(cpu, RDX_NUMBER, size) * readGeneralOperand(cpu, insn, size);
  writeRegister(cpu, insn.vvvv, size, BigInt.asUintN(size * 8, product));
  // Last: it wins where both destinations are one register.
  writeRegister(cpu, insn.reg, size, product >> BigInt(size * 8));
  return NEXT;
}

/** F7: BEXTR, SHLX with 66, SARX with F3, SHRX with F2. */
function completeF7(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.vectorLength !== 0) return NOT_HANDLED;
  const size = widthOf(insn);
  const bits = size * 8;
  const source = readGeneralOperand(cpu, insn, size);
  const control = readRegister(cpu, insn.vvvv, size);
  const count = control & BigInt(bits - 1);
  let result: bigint;
  if (insn.prefix === PREFIX_66) result = BigInt.asUintN(bits, source << count);
  else if (insn.prefix === PREFIX_F2) result = source >> count;
  else if (insn.prefix === PREFIX_F3) result = BigInt.asUintN(bits, BigInt.asIntN(bits, source) >> count);
  else {
    result = BigInt.asUintN(Number((control >> 8n) & 0xffn), source >> (control & 0xffn));
    setLogicFlags(cpu, result, size, false);
    // SF is undefined; processors clear it.
    cpu.regs[RFLAGS] = cpu.regs[RFLAGS]! & ~SF;
  }
  writeRegister(cpu, insn.reg, size, result);
  return NEXT;
}

function completeRorx(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_F2 || insn.vectorLength !== 0) return NOT_HANDLED;
  const size = widthOf(insn);
  const bits = size * 8;
  const count = BigInt(insn.immediate & (bits - 1));
  const source = readGeneralOperand(cpu, insn, size);
  writeRegister(
    cpu,
    insn.reg,
    size,
    BigInt.asUintN(bits, (source >> count) | (source << (BigInt(bits) - count))),
  );
  return NEXT;
}

export const bitManipulation: readonly OpcodeEntry[] = [
  { encoding: ENCODING_VEX, map: MAP_0F38, opcodes: [0xf2], complete: completeAndn },
  { encoding: ENCODING_VEX, map: MAP_0F38, opcodes: [0xf3], complete: completeLowestBit },
  { encoding: ENCODING_VEX, map: MAP_0F38, opcodes: [0xf5], complete: completeF5 },
  { encoding: ENCODING_VEX, map: MAP_0F38, opcodes: [0xf6], complete: completeMulx },
  { encoding: ENCODING_VEX, map: MAP_0F38, opcodes: [0xf7], complete: completeF7 },
  { encoding: ENCODING_VEX, map: MAP_0F3A, opcodes: [0xf0], complete: completeRorx },
];
