/** Whether the guest has enabled the x87, SSE and AVX state; kernels with lazy FPU switching rely on the #NM. */
import type { AssistCpu } from "../cpu.ts";
import { deviceNotAvailable, invalidOpcode } from "../fault.ts";
import { CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE, low32 } from "../registers.ts";

/** x87 and FXSAVE: #NM with CR0.EM or CR0.TS. Intel SDM volume 3A section 2.5. */
export function requireX87(cpu: AssistCpu): void {
  if ((low32(cpu.sregs.cr0) & (CR0_EM | CR0_TS)) !== 0) throw deviceNotAvailable();
}

/** Legacy-encoded SSE: #UD with CR0.EM or without CR4.OSFXSR, #NM with CR0.TS. Volume 3A section 13.1. */
export function requireSse(cpu: AssistCpu): void {
  const cr0 = low32(cpu.sregs.cr0);
  if ((cr0 & CR0_EM) !== 0 || (low32(cpu.sregs.cr4) & CR4_OSFXSR) === 0) throw invalidOpcode();
  if ((cr0 & CR0_TS) !== 0) throw deviceNotAvailable();
}

/** VEX-encoded vector instructions: #UD unless XCR0 has SSE and AVX, #NM with CR0.TS. Volume 2A section 2.4. */
export function requireAvx(cpu: AssistCpu): void {
  requireXsave(cpu);
  if ((cpu.xcr0() & 6n) !== 6n) throw invalidOpcode();
}

/** The XSAVE family: #UD without CR4.OSXSAVE, #NM with CR0.TS. */
export function requireXsave(cpu: AssistCpu): void {
  if ((low32(cpu.sregs.cr4) & CR4_OSXSAVE) === 0) throw invalidOpcode();
  if ((low32(cpu.sregs.cr0) & CR0_TS) !== 0) throw deviceNotAvailable();
}
