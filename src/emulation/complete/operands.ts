/** General register operands: the "r/m" of an instruction, wherever it is. */
import type { AssistCpu } from "../cpu.ts";
import type { Instruction } from "../decode.ts";
import { readOperand, writeOperand } from "../memory.ts";
import { readRegister, writeRegister } from "../registers.ts";

/** Reads r/m as `size` bytes (2, 4 or 8), zero-extended. */
export function readGeneralOperand(cpu: AssistCpu, insn: Instruction, size: number): bigint {
  return insn.memory ? readOperand(cpu, insn, size) : readRegister(cpu, insn.rm, size);
}

/** Reads r/m as one byte; without REX, registers 4 to 7 are AH CH DH BH. */
export function readByteOperand(cpu: AssistCpu, insn: Instruction): bigint {
  if (insn.memory) return readOperand(cpu, insn, 1);
  if (insn.rex === 0 && insn.rm >= 4) return (readRegister(cpu, insn.rm & 3, 2) >> 8n) & 0xffn;
  return readRegister(cpu, insn.rm, 2) & 0xffn;
}

/** Writes r/m as `size` bytes (2, 4 or 8). */
export function writeGeneralOperand(cpu: AssistCpu, insn: Instruction, size: number, value: bigint): void {
  if (insn.memory) writeOperand(cpu, insn, size, value);
  else writeRegister(cpu, insn.rm, size, value);
}

/** The 64-bit value of two registers' low halves, EDX:EAX. */
export function pair(high: bigint, low: bigint): bigint {
  return (BigInt.asUintN(32, high) << 32n) | BigInt.asUintN(32, low);
}
