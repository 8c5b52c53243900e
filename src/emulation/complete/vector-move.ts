/**
 * Moves between vector registers, general registers and memory, legacy and VEX-encoded: MOVUPS and MOVAPS and their
 * kin, MOVDQA, MOVDQU, LDDQU, the non-temporal moves, MOVSS, MOVSD, MOVLPS, MOVHPS, MOVD, MOVQ, MOVNTI, VZEROUPPER.
 * Intel SDM volumes 2A to 2C, the pages of those names.
 */
import type { AssistCpu } from "../cpu.ts";
import {
  ENCODING_LEGACY,
  ENCODING_VEX,
  MAP_0F,
  MAP_0F38,
  PREFIX_66,
  PREFIX_F2,
  PREFIX_F3,
  PREFIX_NONE,
  type Instruction,
} from "../decode.ts";
import { writeOperand } from "../memory.ts";
import { readRegister } from "../registers.ts";
import { NEXT, NOT_HANDLED, type Completer, type OpcodeEntry, type Outcome } from "./family.ts";
import { readGeneralOperand, writeGeneralOperand } from "./operands.ts";
import {
  readVector,
  readVectorMemory,
  readVectorOperand,
  requireVectors,
  vectorBytes,
  writeVector,
  writeVectorMemory,
} from "./vector-registers.ts";

/** r/m to register, full width. */
function load(cpu: AssistCpu, insn: Instruction, aligned: boolean): Outcome {
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  writeVector(cpu, area, insn, insn.reg, readVectorOperand(cpu, area, insn, vectorBytes(insn), aligned));
  cpu.setXsave(area);
  return NEXT;
}

/** Register to r/m, full width. */
function store(cpu: AssistCpu, insn: Instruction, aligned: boolean): Outcome {
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  const value = readVector(cpu, area, insn.reg, vectorBytes(insn));
  if (insn.memory) writeVectorMemory(cpu, insn, value, aligned);
  else {
    writeVector(cpu, area, insn, insn.rm, value);
    cpu.setXsave(area);
  }
  return NEXT;
}

/** 10 and 11: MOVUPS, MOVUPD, and with F3 and F2 MOVSS and MOVSD. */
function completeUnaligned(cpu: AssistCpu, insn: Instruction): Outcome {
  const storing = insn.opcode === 0x11;
  if (insn.prefix === PREFIX_NONE || insn.prefix === PREFIX_66)
    return storing ? store(cpu, insn, false) : load(cpu, insn, false);
  return completeScalar(cpu, insn, insn.prefix === PREFIX_F3 ? 4 : 8, storing);
}

function completeScalar(cpu: AssistCpu, insn: Instruction, size: number, storing: boolean): Outcome {
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  if (insn.memory && storing) {
    writeVectorMemory(cpu, insn, readVector(cpu, area, insn.reg, size), false);
    return NEXT;
  }
  const result = new Uint8Array(16);
  if (insn.memory) result.set(readVectorMemory(cpu, insn, size, false));
  else {
    // Between registers only the low element moves; the rest comes from the first source.
    const to = storing ? insn.rm : insn.reg;
    result.set(readVector(cpu, area, insn.encoding === ENCODING_VEX ? insn.vvvv : to, 16));
    result.set(readVector(cpu, area, storing ? insn.reg : insn.rm, size));
  }
  writeVector(cpu, area, insn, storing ? insn.rm : insn.reg, result);
  cpu.setXsave(area);
  return NEXT;
}

/** 12, 13, 16, 17: MOVLPS, MOVHPS and their kin; between registers MOVHLPS and MOVLHPS. */
function completeHalf(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.vectorLength !== 0 || (insn.prefix !== PREFIX_NONE && insn.prefix !== PREFIX_66))
    return NOT_HANDLED;
  const storing = (insn.opcode & 1) !== 0;
  if (!insn.memory && (storing || insn.prefix === PREFIX_66)) return NOT_HANDLED;
  requireVectors(cpu, insn);
  const high = insn.opcode >= 0x16 ? 8 : 0;
  const area = cpu.getXsave();
  if (storing) {
    writeVectorMemory(cpu, insn, readVector(cpu, area, insn.reg, 16).subarray(high, high + 8), false);
    return NEXT;
  }
  const source = insn.memory
    ? readVectorMemory(cpu, insn, 8, false)
    : readVector(cpu, area, insn.rm, 16).subarray(8 - high, 16 - high);
  const result = readVector(cpu, area, insn.encoding === ENCODING_VEX ? insn.vvvv : insn.reg, 16);
  result.set(source, high);
  writeVector(cpu, area, insn, insn.reg, result);
  cpu.setXsave(area);
  return NEXT;
}

/** 28 and 29: MOVAPS, MOVAPD. */
function completeAligned(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_NONE && insn.prefix !== PREFIX_66) return NOT_HANDLED;
  return insn.opcode === 0x29 ? store(cpu, insn, true) : load(cpu, insn, true);
}

/** 6F and 7F: MOVDQA with 66, MOVDQU with F3. Without either they are MMX. */
function completeInteger(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_66 && insn.prefix !== PREFIX_F3) return NOT_HANDLED;
  const aligned = insn.prefix === PREFIX_66;
  return insn.opcode === 0x7f ? store(cpu, insn, aligned) : load(cpu, insn, aligned);
}

/** 2B with and without 66 and E7 with 66: MOVNTPS, MOVNTPD, MOVNTDQ. */
function completeNonTemporalStore(cpu: AssistCpu, insn: Instruction): Outcome {
  const known = insn.prefix === PREFIX_66 || (insn.opcode === 0x2b && insn.prefix === PREFIX_NONE);
  return known && insn.memory ? store(cpu, insn, true) : NOT_HANDLED;
}

/** 0F 38 2A with 66: MOVNTDQA. */
function completeNonTemporalLoad(cpu: AssistCpu, insn: Instruction): Outcome {
  return insn.prefix === PREFIX_66 && insn.memory ? load(cpu, insn, true) : NOT_HANDLED;
}

function completeLddqu(cpu: AssistCpu, insn: Instruction): Outcome {
  return insn.prefix === PREFIX_F2 && insn.memory ? load(cpu, insn, false) : NOT_HANDLED;
}

function completeMovnti(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_NONE || !insn.memory) return NOT_HANDLED;
  const size = insn.w ? 8 : 4;
  writeOperand(cpu, insn, size, readRegister(cpu, insn.reg, size));
  return NEXT;
}

const element = new Uint8Array(16);
const elementView = new DataView(element.buffer);

/** 6E with 66: MOVD and MOVQ to a vector register, the rest of it zero. */
function completeFromGeneral(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_66 || insn.vectorLength !== 0) return NOT_HANDLED;
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  elementView.setBigUint64(0, readGeneralOperand(cpu, insn, insn.w ? 8 : 4), true);
  writeVector(cpu, area, insn, insn.reg, element);
  cpu.setXsave(area);
  return NEXT;
}

/** 7E: with 66 MOVD and MOVQ to a general register, with F3 MOVQ between vector registers. */
function complete7e(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.vectorLength !== 0 || (insn.prefix !== PREFIX_66 && insn.prefix !== PREFIX_F3)) return NOT_HANDLED;
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  if (insn.prefix === PREFIX_F3) {
    const result = new Uint8Array(16);
    result.set(readVectorOperand(cpu, area, insn, 8, false));
    writeVector(cpu, area, insn, insn.reg, result);
    cpu.setXsave(area);
    return NEXT;
  }
  const size = insn.w ? 8 : 4;
  const low = readVector(cpu, area, insn.reg, 8);
  const value = new DataView(low.buffer).getBigUint64(0, true);
  writeGeneralOperand(cpu, insn, size, BigInt.asUintN(size * 8, value));
  return NEXT;
}

/** D6 with 66: MOVQ from a vector register to memory or another one. */
function completeMovqStore(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_66 || insn.vectorLength !== 0) return NOT_HANDLED;
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  const low = readVector(cpu, area, insn.reg, 8);
  if (insn.memory) {
    writeVectorMemory(cpu, insn, low, false);
    return NEXT;
  }
  const result = new Uint8Array(16);
  result.set(low);
  writeVector(cpu, area, insn, insn.rm, result);
  cpu.setXsave(area);
  return NEXT;
}

/** VEX 77: VZEROUPPER, and with VEX.L VZEROALL. */
function completeVzero(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_NONE) return NOT_HANDLED;
  requireVectors(cpu, insn);
  const area = cpu.getXsave();
  const registers = insn.codeSize === 64 ? 16 : 8;
  for (let number = 0; number < registers; number++) {
    const value = insn.vectorLength !== 0 ? new Uint8Array(16) : readVector(cpu, area, number, 16);
    writeVector(cpu, area, insn, number, value);
  }
  cpu.setXsave(area);
  return NEXT;
}

function both(opcodes: readonly number[], complete: Completer, map = MAP_0F): OpcodeEntry[] {
  return [ENCODING_LEGACY, ENCODING_VEX].map((encoding) => ({ encoding, map, opcodes, complete }));
}

export const vectorMoves: readonly OpcodeEntry[] = [
  ...both([0x10, 0x11], completeUnaligned),
  ...both([0x12, 0x13, 0x16, 0x17], completeHalf),
  ...both([0x28, 0x29], completeAligned),
  ...both([0x6f, 0x7f], completeInteger),
  ...both([0x2b, 0xe7], completeNonTemporalStore),
  ...both([0x2a], completeNonTemporalLoad, MAP_0F38),
  ...both([0xf0], completeLddqu),
  ...both([0x6e], completeFromGeneral),
  ...both([0x7e], complete7e),
  ...both([0xd6], completeMovqStore),
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0xc3], complete: completeMovnti },
  { encoding: ENCODING_VEX, map: MAP_0F, opcodes: [0x77], complete: completeVzero },
];
