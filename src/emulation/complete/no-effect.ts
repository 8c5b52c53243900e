/**
 * Instructions that are hints, cache control or ordering, and do nothing a guest in this machine could see: PAUSE and
 * NOP, PREFETCH*, the hint NOPs 0F 18 to 0F 1F (ENDBR64 among them), INVD and WBINVD. Memory operands are not
 * accessed. Intel SDM volumes 2A to 2C, the pages of those names.
 */
import type { AssistCpu } from "../cpu.ts";
import { ENCODING_LEGACY, MAP_0F, MAP_ONE_BYTE, type Instruction } from "../decode.ts";
import { generalProtection } from "../fault.ts";
import { privilegeLevel } from "../registers.ts";
import { NEXT, NOT_HANDLED, type OpcodeEntry, type Outcome } from "./family.ts";

function completeHint(): Outcome {
  return NEXT;
}

/** 90 is XCHG with R8 under REX.B. */
function completeNop(_cpu: AssistCpu, insn: Instruction): Outcome {
  return (insn.rex & 1) === 0 ? NEXT : NOT_HANDLED;
}

function completeCacheFlush(cpu: AssistCpu): Outcome {
  if (privilegeLevel(cpu) !== 0) throw generalProtection();
  return NEXT;
}

/** 0F 0D is PREFETCHW and its kin only with a memory operand. */
function completePrefetch(_cpu: AssistCpu, insn: Instruction): Outcome {
  return insn.memory ? NEXT : NOT_HANDLED;
}

/** 0F 1A and 1B are MPX, 0F 1E /1 with F3 reads the shadow stack pointer: NOPs while neither is enabled. */
export const noEffects: readonly OpcodeEntry[] = [
  { encoding: ENCODING_LEGACY, map: MAP_ONE_BYTE, opcodes: [0x90], complete: completeNop },
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0x0d], complete: completePrefetch },
  {
    encoding: ENCODING_LEGACY,
    map: MAP_0F,
    opcodes: [0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f],
    complete: completeHint,
  },
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0x08, 0x09], complete: completeCacheFlush },
];
