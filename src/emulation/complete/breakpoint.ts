/** INT3, INT1, INTO, INT n and UD0/UD1/UD2: instructions whose effect is an exception. */
import type { AssistCpu } from "../cpu.ts";
import { ENCODING_LEGACY, MAP_0F, MAP_ONE_BYTE, type Instruction } from "../decode.ts";
import { CannotComplete, GuestFault, generalProtection, invalidOpcode } from "../fault.ts";
import { readLinear } from "../memory.ts";
import {
  CR0_PE,
  EFER_LMA,
  OF,
  RFLAGS,
  RIP,
  VECTOR_BP,
  VECTOR_DB,
  VECTOR_OF,
  low32,
  privilegeLevel,
} from "../registers.ts";
import { NEXT, type OpcodeEntry, type Outcome } from "./family.ts";

const NMI = 2;

/** Traps report the address behind the instruction. Intel SDM volume 3A section 6.5. */
function trap(cpu: AssistCpu, insn: Instruction, vector: number): never {
  checkGate(cpu, vector);
  cpu.regs[RIP] = cpu.regs[RIP]! + BigInt(insn.length);
  throw new GuestFault(vector);
}

/** Software interrupts from CPL 3 need a gate with DPL 3, else #GP. INT1 is exempt. Volume 3A section 6.12.1.2. */
function checkGate(cpu: AssistCpu, vector: number): void {
  if (vector === VECTOR_DB || privilegeLevel(cpu) === 0) return;
  const { sregs } = cpu;
  if ((low32(sregs.cr0) & CR0_PE) === 0) return;
  const size = (low32(sregs.efer) & EFER_LMA) !== 0 ? 16 : 8;
  const fault = generalProtection(vector * 8 + 2);
  if (vector * size + size - 1 > sregs.idt.limit) throw fault;
  const access = readLinear(cpu, sregs.idt.base + BigInt(vector * size + 5), 1, { implicitSupervisor: true });
  if (((Number(access) >> 5) & 3) < privilegeLevel(cpu)) throw fault;
}

function completeInt(cpu: AssistCpu, insn: Instruction): Outcome {
  const vector = insn.immediate & 0xff;
  // KVM_SET_VCPU_EVENTS takes the exceptions 0 to 31 without the NMI, and nothing else.
  if (vector > 31 || vector === NMI)
    throw new CannotComplete(`software interrupt ${vector} cannot be injected`);
  return trap(cpu, insn, vector);
}

function completeInto(cpu: AssistCpu, insn: Instruction): Outcome {
  return (cpu.regs[RFLAGS]! & OF) === 0n ? NEXT : trap(cpu, insn, VECTOR_OF);
}

export const breakpoints: readonly OpcodeEntry[] = [
  {
    encoding: ENCODING_LEGACY,
    map: MAP_ONE_BYTE,
    opcodes: [0xcc],
    complete: (cpu, insn) => trap(cpu, insn, VECTOR_BP),
  },
  {
    encoding: ENCODING_LEGACY,
    map: MAP_ONE_BYTE,
    opcodes: [0xf1],
    complete: (cpu, insn) => trap(cpu, insn, VECTOR_DB),
  },
  { encoding: ENCODING_LEGACY, map: MAP_ONE_BYTE, opcodes: [0xcd], complete: completeInt },
  { encoding: ENCODING_LEGACY, map: MAP_ONE_BYTE, opcodes: [0xce], complete: completeInto },
  {
    encoding: ENCODING_LEGACY,
    map: MAP_0F,
    opcodes: [0x0b, 0xb9, 0xff],
    complete: () => {
      throw invalidOpcode();
    },
  },
];
