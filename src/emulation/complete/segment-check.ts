/**
 * LAR, LSL, VERR and VERW. Linux executes VERW on each return to user mode where it mitigates MDS. Intel SDM volumes
 * 2A and 2C, the pages of those names; descriptors: volume 3A section 3.4.5.
 */
import type { AssistCpu } from "../cpu.ts";
import { ENCODING_LEGACY, MAP_0F, type Instruction } from "../decode.ts";
import { invalidOpcode } from "../fault.ts";
import { readLinear } from "../memory.ts";
import { CR0_PE, EFER_LMA, RFLAGS, VM, ZF, low32, privilegeLevel, writeRegister } from "../registers.ts";
import { NEXT, NOT_HANDLED, type OpcodeEntry, type Outcome } from "./family.ts";
import { readGeneralOperand } from "./operands.ts";

/** System descriptor types the instructions accept, as bit masks; IA-32e mode has fewer. */
const LAR_TYPES_LEGACY = 0b0001_1010_0011_1110;
const LAR_TYPES_LONG = 0b0001_1010_0000_0100;
const LSL_TYPES_LEGACY = 0b0000_1010_0000_1110;
const LSL_TYPES_LONG = 0b0000_1010_0000_0100;

const TYPE_CODE = 8;
const TYPE_CONFORMING = 4;
const TYPE_READ_WRITE = 2;

/** The upper and lower half of a descriptor, or undefined where the selector is null or beyond its table. */
function readDescriptor(cpu: AssistCpu, selector: number): { low: number; high: number } | undefined {
  if ((selector & 0xfffc) === 0) return undefined;
  const { gdt, ldt } = cpu.sregs;
  const table = (selector & 4) === 0 ? gdt : ldt;
  const offset = selector & 0xfff8;
  if (offset + 7 > table.limit || (table === ldt && ldt.present === 0)) return undefined;
  const descriptor = readLinear(cpu, BigInt.asUintN(64, table.base + BigInt(offset)), 8, {
    implicitSupervisor: true,
  });
  return { low: Number(BigInt.asUintN(32, descriptor)), high: Number(descriptor >> 32n) };
}

function isSystem(high: number): boolean {
  return (high & (1 << 12)) === 0;
}

function typeOf(high: number): number {
  return (high >>> 8) & 15;
}

/** Conforming code is open to all; anything else needs a DPL not below CPL and RPL. */
function isReachable(cpu: AssistCpu, selector: number, high: number): boolean {
  const conforming = TYPE_CODE | TYPE_CONFORMING;
  if (!isSystem(high) && (typeOf(high) & conforming) === conforming) return true;
  const dpl = (high >>> 13) & 3;
  return dpl >= privilegeLevel(cpu) && dpl >= (selector & 3);
}

function setZero(cpu: AssistCpu, value: boolean): void {
  cpu.regs[RFLAGS] = value ? cpu.regs[RFLAGS]! | ZF : cpu.regs[RFLAGS]! & ~ZF;
}

function readSelector(cpu: AssistCpu, insn: Instruction): number {
  const protectedMode = (low32(cpu.sregs.cr0) & CR0_PE) !== 0 && (cpu.regs[RFLAGS]! & VM) === 0n;
  if (!protectedMode) throw invalidOpcode();
  return Number(readGeneralOperand(cpu, insn, 2));
}

/** Group 6 (0F 00): VERR is /4, VERW is /5; KVM's emulator knows the others. */
function completeVerify(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.group !== 4 && insn.group !== 5) return NOT_HANDLED;
  const selector = readSelector(cpu, insn);
  const high = readDescriptor(cpu, selector)?.high;
  setZero(cpu, high !== undefined && isAccessible(cpu, selector, high, insn.group === 5));
  return NEXT;
}

function isAccessible(cpu: AssistCpu, selector: number, high: number, forWriting: boolean): boolean {
  if (isSystem(high) || !isReachable(cpu, selector, high)) return false;
  const code = (typeOf(high) & TYPE_CODE) !== 0;
  const flag = (typeOf(high) & TYPE_READ_WRITE) !== 0;
  return forWriting ? !code && flag : !code || flag;
}

/** LAR is 02, LSL is 03. */
function completeLoad(cpu: AssistCpu, insn: Instruction): Outcome {
  const selector = readSelector(cpu, insn);
  const long = (low32(cpu.sregs.efer) & EFER_LMA) !== 0;
  const wantsLimit = insn.opcode === 0x03;
  const descriptor = readDescriptor(cpu, selector);
  const types = wantsLimit
    ? long
      ? LSL_TYPES_LONG
      : LSL_TYPES_LEGACY
    : long
      ? LAR_TYPES_LONG
      : LAR_TYPES_LEGACY;
  const valid =
    descriptor !== undefined &&
    (!isSystem(descriptor.high) || ((types >>> typeOf(descriptor.high)) & 1) !== 0) &&
    isReachable(cpu, selector, descriptor.high);
  setZero(cpu, valid);
  if (valid) {
    const value = wantsLimit
      ? limitOf(descriptor.low, descriptor.high)
      : (descriptor.high & 0x00ff_ff00) >>> 0;
    writeRegister(cpu, insn.reg, insn.operandSize, BigInt(value));
  }
  return NEXT;
}

function limitOf(low: number, high: number): number {
  const limit = (low & 0xffff) | (high & 0xf_0000);
  return (high & (1 << 23)) !== 0 ? ((limit << 12) | 0xfff) >>> 0 : limit;
}

export const segmentChecks: readonly OpcodeEntry[] = [
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0x00], complete: completeVerify },
  { encoding: ENCODING_LEGACY, map: MAP_0F, opcodes: [0x02, 0x03], complete: completeLoad },
];
