/** XMM and YMM registers inside KVM's XSAVE area, and the vector operands of an instruction. */
import type { AssistCpu } from "../cpu.ts";
import { ENCODING_VEX, type Instruction } from "../decode.ts";
import { CannotComplete, generalProtection } from "../fault.ts";
import { operandAddress, translateRange } from "../memory.ts";
import { READ, WRITE } from "../page-walk.ts";
import { requireAvx, requireSse } from "./available.ts";
import { AVX, SSE, XMM_OFFSET, ZMM_HI256, markInUse, viewOf, xsaveLayout } from "./xsave-layout.ts";

/** The widest vector handled: 256 bits. */
const MAX_BYTES = 32;

/** #UD and #NM as the encoding asks for. */
export function requireVectors(cpu: AssistCpu, insn: Instruction): void {
  if (insn.encoding === ENCODING_VEX) requireAvx(cpu);
  else requireSse(cpu);
}

/** Bytes a full-width operand of this instruction has. */
export function vectorBytes(insn: Instruction): number {
  return 16 << insn.vectorLength;
}

/** A copy of the low `size` bytes (up to 32) of a vector register. */
export function readVector(cpu: AssistCpu, area: Uint8Array, number: number, size: number): Uint8Array {
  const value = new Uint8Array(size);
  const low = XMM_OFFSET + number * 16;
  value.set(area.subarray(low, low + Math.min(size, 16)));
  if (size > 16) {
    const upper = avxOffset(cpu, area) + number * 16;
    value.set(area.subarray(upper, upper + size - 16), 16);
  }
  return value;
}

function avxOffset(cpu: AssistCpu, area: Uint8Array): number {
  const { offsets, sizes } = xsaveLayout(cpu);
  const offset = offsets[AVX]!;
  if (offset === 0 || offset + sizes[AVX]! > area.length)
    throw new CannotComplete("KVM's XSAVE area has no AVX state");
  return offset;
}

/**
 * Writes a vector register from its low end: bytes beyond `value` stay with a legacy encoding and become zero with
 * VEX. The caller hands the area to `setXsave`.
 */
export function writeVector(
  cpu: AssistCpu,
  area: Uint8Array,
  insn: Instruction,
  number: number,
  value: Uint8Array,
): void {
  const low = XMM_OFFSET + number * 16;
  area.set(value.length > 16 ? value.subarray(0, 16) : value, low);
  const view = viewOf(area);
  markInUse(view, 1 << SSE);
  if (insn.encoding !== ENCODING_VEX) return;
  area.fill(0, low + Math.min(value.length, 16), low + 16);
  const upper = avxOffset(cpu, area) + number * 16;
  area.fill(0, upper, upper + 16);
  if (value.length > 16) area.set(value.subarray(16, MAX_BYTES), upper);
  const { offsets, sizes } = xsaveLayout(cpu);
  const zmm = offsets[ZMM_HI256]!;
  if (zmm !== 0 && zmm + sizes[ZMM_HI256]! <= area.length)
    area.fill(0, zmm + number * 32, zmm + number * 32 + 32);
  markInUse(view, 1 << AVX);
}

/** The r/m operand of a vector instruction: memory or register. Legacy 16-byte operands must be aligned. */
export function readVectorOperand(
  cpu: AssistCpu,
  area: Uint8Array,
  insn: Instruction,
  size: number,
  aligned: boolean,
): Uint8Array {
  return insn.memory ? readVectorMemory(cpu, insn, size, aligned) : readVector(cpu, area, insn.rm, size);
}

export function readVectorMemory(
  cpu: AssistCpu,
  insn: Instruction,
  size: number,
  aligned: boolean,
): Uint8Array {
  const linear = operandAddress(cpu, insn, size, READ);
  if (aligned && (linear & BigInt(size - 1)) !== 0n) throw generalProtection();
  const value = new Uint8Array(size);
  translateRange(cpu, linear, size, READ).read(0, value);
  return value;
}

export function writeVectorMemory(
  cpu: AssistCpu,
  insn: Instruction,
  value: Uint8Array,
  aligned: boolean,
): void {
  const linear = operandAddress(cpu, insn, value.length, WRITE);
  if (aligned && (linear & BigInt(value.length - 1)) !== 0n) throw generalProtection();
  translateRange(cpu, linear, value.length, WRITE).write(0, value);
}
