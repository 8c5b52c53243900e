/** RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE and SWAPGS. Intel SDM volume 2B and 2C, the pages of that name. */
import type { AssistCpu } from "../cpu.ts";
import type { Instruction } from "../decode.ts";
import { generalProtection, invalidOpcode } from "../fault.ts";
import { isCanonical } from "../memory.ts";
import {
  CR4_FSGSBASE,
  MSR_KERNEL_GS_BASE,
  low32,
  privilegeLevel,
  readRegister,
  writeRegister,
} from "../registers.ts";
import { NEXT, type Outcome } from "./family.ts";

const MSR_FS_BASE = 0xc000_0100;
const MSR_GS_BASE = 0xc000_0101;

/** F3 0F AE /0 to /3: read FS, read GS, write FS, write GS. */
export function completeFsGsBase(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.codeSize !== 64 || (low32(cpu.sregs.cr4) & CR4_FSGSBASE) === 0) throw invalidOpcode();
  const size = insn.w ? 8 : 4;
  const segment = (insn.group & 1) === 0 ? cpu.sregs.fs : cpu.sregs.gs;
  if (insn.group < 2) writeRegister(cpu, insn.rm, size, segment.base);
  else {
    const base = readRegister(cpu, insn.rm, size);
    if (!isCanonical(cpu, base)) throw generalProtection();
    cpu.setMsr((insn.group & 1) === 0 ? MSR_FS_BASE : MSR_GS_BASE, base);
    segment.base = base;
  }
  return NEXT;
}

export function completeSwapgs(cpu: AssistCpu, insn: Instruction): Outcome {
  if (insn.codeSize !== 64) throw invalidOpcode();
  if (privilegeLevel(cpu) !== 0) throw generalProtection();
  const kernelBase = cpu.getMsr(MSR_KERNEL_GS_BASE);
  cpu.setMsr(MSR_KERNEL_GS_BASE, cpu.sregs.gs.base);
  cpu.setMsr(MSR_GS_BASE, kernelBase);
  cpu.sregs.gs.base = kernelBase;
  return NEXT;
}
