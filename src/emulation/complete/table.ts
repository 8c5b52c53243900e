/** From opcode to completer. */
import type { Instruction } from "../decode.ts";
import { bitCounts } from "./bit-count.ts";
import { bitManipulation } from "./bmi.ts";
import { breakpoints } from "./breakpoint.ts";
import type { Completer, OpcodeEntry } from "./family.ts";
import { general0f38 } from "./general-0f38.ts";
import { groups } from "./groups.ts";
import { vexMxcsr } from "./mxcsr.ts";
import { noEffects } from "./no-effect.ts";
import { segmentChecks } from "./segment-check.ts";
import { timeStamps } from "./time-stamp.ts";
import { vectorIntegers } from "./vector-integer.ts";
import { vectorMoves } from "./vector-move.ts";
import { x87Controls } from "./x87-control.ts";

const FAMILIES: readonly (readonly OpcodeEntry[])[] = [
  breakpoints,
  x87Controls,
  groups,
  bitCounts,
  timeStamps,
  noEffects,
  vexMxcsr,
  bitManipulation,
  general0f38,
  segmentChecks,
  vectorMoves,
  vectorIntegers,
];

function key(encoding: number, map: number, opcode: number): number {
  return (encoding << 11) | (map << 8) | opcode;
}

const completers: (Completer | undefined)[] = new Array<Completer | undefined>(key(3, 0, 0)).fill(undefined);
for (const family of FAMILIES) {
  for (const { encoding, map, opcodes, complete } of family) {
    for (const opcode of opcodes) completers[key(encoding, map, opcode)] = complete;
  }
}

/** The completer of an opcode, or undefined where there is none. */
export function completerOf(insn: Instruction): Completer | undefined {
  return completers[key(insn.encoding, insn.map, insn.opcode)];
}
