/** RDRAND and RDSEED, from the host's random number generator. Intel SDM volume 2B, the pages of that name. */
import { randomFillSync } from "node:crypto";
import type { AssistCpu } from "../cpu.ts";
import type { Instruction } from "../decode.ts";
import { CF, setStatusFlags, writeRegister } from "../registers.ts";
import { NEXT, type Outcome } from "./family.ts";

const random = new BigUint64Array(1);

export function completeRdrand(cpu: AssistCpu, insn: Instruction): Outcome {
  randomFillSync(random);
  writeRegister(cpu, insn.rm, insn.operandSize, random[0]!);
  setStatusFlags(cpu, CF);
  return NEXT;
}
