/** XGETBV and XSETBV. Intel SDM volumes 2C, the pages of that name, and volume 1 section 13.3. */
import type { AssistCpu } from "../cpu.ts";
import { generalProtection, invalidOpcode } from "../fault.ts";
import { CR4_OSXSAVE, RAX, RCX, RDX, low32, privilegeLevel } from "../registers.ts";
import { NEXT, type Outcome } from "./family.ts";
import { pair } from "./operands.ts";
import { componentsInUse, viewOf } from "./xsave-layout.ts";

function selectedRegister(cpu: AssistCpu): number {
  if ((low32(cpu.sregs.cr4) & CR4_OSXSAVE) === 0) throw invalidOpcode();
  return Number(BigInt.asUintN(32, cpu.regs[RCX]!));
}

/** XCR0, or with ECX = 1 the components of it that are in use. */
export function completeXgetbv(cpu: AssistCpu): Outcome {
  const register = selectedRegister(cpu);
  if (register > 1) throw generalProtection();
  let value = cpu.xcr0();
  if (register === 1) {
    if ((cpu.cpuid(0xd, 1).eax & 4) === 0) throw generalProtection();
    value &= BigInt(componentsInUse(viewOf(cpu.getXsave())));
  }
  cpu.regs[RAX] = BigInt.asUintN(32, value);
  cpu.regs[RDX] = value >> 32n;
  return NEXT;
}

export function completeXsetbv(cpu: AssistCpu): Outcome {
  const register = selectedRegister(cpu);
  if (privilegeLevel(cpu) !== 0) throw generalProtection();
  const value = pair(cpu.regs[RDX]!, cpu.regs[RAX]!);
  if (register !== 0 || !isValidXcr0(cpu, value)) throw generalProtection();
  cpu.setXcr0(value);
  return NEXT;
}

/** x87 always; AVX needs SSE; MPX, AVX-512 and AMX come as a whole; nothing the processor lacks. */
function isValidXcr0(cpu: AssistCpu, value: bigint): boolean {
  const { eax, edx } = cpu.cpuid(0xd, 0);
  if ((value & ~pair(BigInt(edx >>> 0), BigInt(eax >>> 0))) !== 0n || (value & 1n) === 0n) return false;
  if ((value & 4n) !== 0n && (value & 2n) === 0n) return false;
  const avx512 = value & 0xe0n;
  if (avx512 !== 0n && (avx512 !== 0xe0n || (value & 4n) === 0n)) return false;
  return isWhole(value, 0x18n) && isWhole(value, 0x6_0000n);
}

function isWhole(value: bigint, bits: bigint): boolean {
  return (value & bits) === 0n || (value & bits) === bits;
}
