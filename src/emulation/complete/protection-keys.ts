/** RDPKRU and WRPKRU. Intel SDM volumes 2B and 2C, the pages of that name. */
import type { AssistCpu } from "../cpu.ts";
import { CannotComplete, generalProtection, invalidOpcode } from "../fault.ts";
import { CR4_PKE, RAX, RCX, RDX, low32 } from "../registers.ts";
import { NEXT, type Outcome } from "./family.ts";
import { PKRU, markInUse, viewOf, xsaveLayout } from "./xsave-layout.ts";

function pkruOffset(cpu: AssistCpu, area: Uint8Array): number {
  if ((low32(cpu.sregs.cr4) & CR4_PKE) === 0) throw invalidOpcode();
  if (BigInt.asUintN(32, cpu.regs[RCX]!) !== 0n) throw generalProtection();
  const offset = xsaveLayout(cpu).offsets[PKRU]!;
  if (offset === 0 || offset + 4 > area.length) throw new CannotComplete("KVM's XSAVE area has no PKRU");
  return offset;
}

export function completeRdpkru(cpu: AssistCpu): Outcome {
  const area = cpu.getXsave();
  cpu.regs[RAX] = BigInt(viewOf(area).getUint32(pkruOffset(cpu, area), true));
  cpu.regs[RDX] = 0n;
  return NEXT;
}

export function completeWrpkru(cpu: AssistCpu): Outcome {
  const area = cpu.getXsave();
  const view = viewOf(area);
  const offset = pkruOffset(cpu, area);
  if (BigInt.asUintN(32, cpu.regs[RDX]!) !== 0n) throw generalProtection();
  view.setUint32(offset, Number(BigInt.asUintN(32, cpu.regs[RAX]!)), true);
  markInUse(view, 1 << PKRU);
  cpu.setXsave(area);
  return NEXT;
}
