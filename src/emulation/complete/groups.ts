/**
 * The opcodes whose meaning is in ModRM: groups 7 (0F 01), 9 (0F C7) and 15 (0F AE). Intel SDM volume 2D table A-6.
 */
import type { AssistCpu } from "../cpu.ts";
import { ENCODING_LEGACY, MAP_0F, PREFIX_66, PREFIX_F3, PREFIX_NONE, type Instruction } from "../decode.ts";
import { setStatusFlags } from "../registers.ts";
import { completeClac, completeStac } from "./access-flag.ts";
import { completeCmpxchg8b, completeCmpxchg16b } from "./compare-exchange.ts";
import { NEXT, NOT_HANDLED, type OpcodeEntry, type Outcome } from "./family.ts";
import { completeFsGsBase, completeSwapgs } from "./fsgsbase.ts";
import { completeFxrstor, completeFxsave } from "./fxsave.ts";
import { completeLdmxcsr, completeStmxcsr } from "./mxcsr.ts";
import { completeRdpkru, completeWrpkru } from "./protection-keys.ts";
import { completeRdrand } from "./random.ts";
import { completeRdpid, completeRdtscp } from "./time-stamp.ts";
import { completeXgetbv, completeXsetbv } from "./xcr.ts";
import { completeXrstor } from "./xrstor.ts";
import { completeXsave } from "./xsave.ts";

/** 0F 01 with ModRM.mod 3, by ModRM byte. KVM's emulator knows the memory forms. */
function completeGroup7(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.memory) return NOT_HANDLED;
  const key = (insn.group << 3) | (insn.rm & 7);
  if (insn.prefix !== PREFIX_NONE) return NOT_HANDLED;
  switch (key) {
    case 0o10: // MONITOR
    case 0o11: // MWAIT: returning at once is always allowed
    case 0o50: // SERIALIZE
    case 0o72: // MONITORX
    case 0o73: // MWAITX
      return NEXT;
    case 0o12:
      return completeClac(cpu, insn);
    case 0o13:
      return completeStac(cpu);
    case 0o20:
      return completeXgetbv(cpu);
    case 0o21:
      return completeXsetbv(cpu);
    case 0o56:
      return completeRdpkru(cpu);
    case 0o57:
      return completeWrpkru(cpu);
    case 0o70:
      return completeSwapgs(cpu, insn);
    case 0o71:
      return completeRdtscp(cpu);
    default:
      return NOT_HANDLED;
  }
}

function completeGroup9(cpu: AssistCpu, insn: Instruction): Outcome {
  if (!insn.memory) {
    if (insn.group === 7 && insn.prefix === PREFIX_F3) return completeRdpid(cpu, insn);
    const random = insn.group >= 6 && (insn.prefix === PREFIX_NONE || insn.prefix === PREFIX_66);
    return random ? completeRdrand(cpu, insn) : NOT_HANDLED;
  }
  if (insn.group === 1) return insn.w ? completeCmpxchg16b(cpu, insn) : completeCmpxchg8b(cpu, insn);
  if (insn.prefix !== PREFIX_NONE) return NOT_HANDLED;
  switch (insn.group) {
    case 3:
      return completeXrstor(cpu, insn, "XRSTORS");
    case 4:
      return completeXsave(cpu, insn, "XSAVEC");
    case 5:
      return completeXsave(cpu, insn, "XSAVES");
    default:
      return NOT_HANDLED;
  }
}

function completeGroup15(cpu: AssistCpu, insn: Instruction): Outcome {
  return insn.memory ? completeGroup15Memory(cpu, insn) : completeGroup15Register(cpu, insn);
}

function completeGroup15Memory(cpu: AssistCpu, insn: Instruction): Outcome {
  // 66 0F AE /6 and /7 are CLWB and CLFLUSHOPT: caches are coherent, nothing to do.
  if (insn.prefix === PREFIX_66) return insn.group >= 6 ? NEXT : NOT_HANDLED;
  if (insn.prefix !== PREFIX_NONE) return NOT_HANDLED;
  switch (insn.group) {
    case 0:
      return completeFxsave(cpu, insn);
    case 1:
      return completeFxrstor(cpu, insn);
    case 2:
      return completeLdmxcsr(cpu, insn);
    case 3:
      return completeStmxcsr(cpu, insn);
    case 4:
      return completeXsave(cpu, insn, "XSAVE");
    case 5:
      return completeXrstor(cpu, insn, "XRSTOR");
    case 6:
      return completeXsave(cpu, insn, "XSAVEOPT");
    default: // CLFLUSH
      return NEXT;
  }
}

function completeGroup15Register(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix === PREFIX_F3 && insn.group < 4) return completeFsGsBase(cpu, insn);
  if (insn.prefix !== PREFIX_NONE && insn.group === 6) return completeUserWait(cpu);
  // LFENCE, MFENCE, SFENCE: leaving the guest was a stronger barrier than any of them.
  return insn.prefix === PREFIX_NONE && insn.group >= 5 ? NEXT : NOT_HANDLED;
}

/** UMONITOR (F3), UMWAIT (F2) and TPAUSE (66): waits may end at once; CF clear says the time limit did not end them. */
function completeUserWait(cpu: AssistCpu): Outcome {
  setStatusFlags(cpu, 0n);
  return NEXT;
}

export const groups: readonly OpcodeEntry[] = [
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0x01], complete: completeGroup7 },
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0xc7], complete: completeGroup9 },
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0xae], complete: completeGroup15 },
];
