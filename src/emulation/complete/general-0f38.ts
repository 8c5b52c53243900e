/**
 * General register instructions of the map 0F 38: MOVBE, CRC32, ADCX, ADOX, MOVDIRI, MOVDIR64B, INVPCID. Intel SDM
 * volumes 2A to 2C, the pages of those names.
 */
import type { AssistCpu } from "../cpu.ts";
import {
  ENCODING_LEGACY,
  ES,
  MAP_0F38,
  PREFIX_66,
  PREFIX_F3,
  PREFIX_NONE,
  type Instruction,
} from "../decode.ts";
import { generalProtection } from "../fault.ts";
import { isCanonical, linearAddress, operandRange, translateRange, writeOperand } from "../memory.ts";
import { READ, WRITE } from "../page-walk.ts";
import { CF, OF, RFLAGS, low32, privilegeLevel, readRegister, writeRegister } from "../registers.ts";
import { NEXT, NOT_HANDLED, type OpcodeEntry, type Outcome } from "./family.ts";
import { readByteOperand, readGeneralOperand } from "./operands.ts";

/** The Castagnoli polynomial, bit-reflected. */
const CRC32C = 0x82f6_3b78;
const CR4_PCIDE = 1 << 17;

const line = new Uint8Array(64);
const descriptor = new Uint8Array(16);
const descriptorView = new DataView(descriptor.buffer);

function swapBytes(value: bigint, size: number): bigint {
  let result = 0n;
  for (let byte = 0; byte < size; byte++) result = (result << 8n) | ((value >> BigInt(byte * 8)) & 0xffn);
  return result;
}

/** F0 and F1: CRC32 with F2, else MOVBE load and store. */
function completeF0F1(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.repeat === 0xf2) return completeCrc32(cpu, insn);
  if (insn.repeat !== 0 || !insn.memory) return NOT_HANDLED;
  const size = insn.operandSize;
  if (insn.opcode === 0xf0)
    writeRegister(cpu, insn.reg, size, swapBytes(readGeneralOperand(cpu, insn, size), size));
  else writeOperand(cpu, insn, size, swapBytes(readRegister(cpu, insn.reg, size), size));
  return NEXT;
}

function completeCrc32(cpu: AssistCpu, insn: Instruction): Outcome {
  const size = insn.opcode === 0xf0 ? 1 : insn.operandSize;
  let source = size === 1 ? readByteOperand(cpu, insn) : readGeneralOperand(cpu, insn, size);
  let crc = Number(readRegister(cpu, insn.reg, 4));
  for (let byte = 0; byte < size; byte++) {
    crc ^= Number(source & 0xffn);
    source >>= 8n;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) !== 0 ? CRC32C : 0);
  }
  // The destination is cleared above bit 31 whatever the operand size.
  writeRegister(cpu, insn.reg, 4, BigInt(crc >>> 0));
  return NEXT;
}

/** F6: ADCX with 66 carries through CF, ADOX with F3 through OF. */
function completeAdx(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_66 && insn.prefix !== PREFIX_F3) return NOT_HANDLED;
  const flag = insn.prefix === PREFIX_66 ? CF : OF;
  // 66 is part of the opcode here and does not make the operand 16 bits wide.
  const size = insn.w ? 8 : 4;
  const flags = cpu.regs[RFLAGS]!;
  const sum =
    readRegister(cpu, insn.reg, size) +
    readGeneralOperand(cpu, insn, size) +
    ((flags & flag) !== 0n ? 1n : 0n);
  writeRegister(cpu, insn.reg, size, BigInt.asUintN(size * 8, sum));
  cpu.regs[RFLAGS] = sum >> BigInt(size * 8) !== 0n ? flags | flag : flags & ~flag;
  return NEXT;
}

/** 64 bytes from the memory operand to the address in a register, in ES. */
function completeMovdir64b(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_66 || !insn.memory) return NOT_HANDLED;
  const offset = readRegister(cpu, insn.reg, insn.addressSize);
  const destination = linearAddress(cpu, insn, ES, offset, line.length, WRITE);
  if ((destination & 63n) !== 0n) throw generalProtection();
  operandRange(cpu, insn, line.length, READ).read(0, line);
  translateRange(cpu, destination, line.length, WRITE).write(0, line);
  return NEXT;
}

function completeMovdiri(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_NONE || !insn.memory) return NOT_HANDLED;
  const size = insn.w ? 8 : 4;
  writeOperand(cpu, insn, size, readRegister(cpu, insn.reg, size));
  return NEXT;
}

/** Every type of invalidation becomes a flush of everything, which is always allowed. */
function completeInvpcid(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.prefix !== PREFIX_66 || !insn.memory) return NOT_HANDLED;
  if (privilegeLevel(cpu) !== 0) throw generalProtection();
  const type = readRegister(cpu, insn.reg, insn.codeSize === 64 ? 8 : 4);
  operandRange(cpu, insn, descriptor.length, READ).read(0, descriptor);
  const pcid = descriptorView.getBigUint64(0, true);
  if (type > 3n || (type < 2n && pcid > 0xfffn)) throw generalProtection();
  if (type < 2n && pcid !== 0n && (low32(cpu.sregs.cr4) & CR4_PCIDE) === 0) throw generalProtection();
  if (type === 0n && !isCanonical(cpu, descriptorView.getBigUint64(8, true))) throw generalProtection();
  cpu.flushTlb();
  return NEXT;
}

export const general0f38: readonly OpcodeEntry[] = [
  { encoding: ENCODING_LEGACY, map: MAP_0F38, opcodes: [0xf0, 0xf1], complete: completeF0F1 },
  { encoding: ENCODING_LEGACY, map: MAP_0F38, opcodes: [0xf6], complete: completeAdx },
  { encoding: ENCODING_LEGACY, map: MAP_0F38, opcodes: [0xf8], complete: completeMovdir64b },
  { encoding: ENCODING_LEGACY, map: MAP_0F38, opcodes: [0xf9], complete: completeMovdiri },
  { encoding: ENCODING_LEGACY, map: MAP_0F38, opcodes: [0x82], complete: completeInvpcid },
];
