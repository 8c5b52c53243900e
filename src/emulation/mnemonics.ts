import type { Instruction } from "./decode.ts";

export function nameInstruction(insn: Instruction, _rip: bigint): string {
  return `map${insn.map} ${insn.opcode.toString(16)}`;
}
