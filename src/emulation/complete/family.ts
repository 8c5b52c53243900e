/** What a file of this folder exports: which opcodes it completes, and how. */
import type { AssistCpu } from "../cpu.ts";
import type { Instruction } from "../decode.ts";

/** This encoding is not one the completer knows. */
export const NOT_HANDLED = 0;
/** Done; execution goes on behind the instruction. */
export const NEXT = 1;
/** Done, and RIP is already where execution goes on. */
export const JUMPED = 2;
export type Outcome = typeof NOT_HANDLED | typeof NEXT | typeof JUMPED;

/** Does what the instruction does. Faults are thrown as `GuestFault` with RIP still on the instruction. */
export type Completer = (cpu: AssistCpu, insn: Instruction) => Outcome;

export interface OpcodeEntry {
  encoding: number;
  map: number;
  opcodes: readonly number[];
  complete: Completer;
}
