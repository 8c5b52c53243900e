/** Brings a fresh vCPU into the state in which the boot protocol wants it. */
import { kvm_regs_words, RBX, RSI, RSP, RIP, RFLAGS } from "../kvm/abi/registers.ts";
import type { InitialCpuState, InitialSegment } from "../boot/load-kernel.ts";
import type { kvm_segment } from "../kvm/abi/structs.ts";
import type { Vcpu } from "../kvm/vcpu.ts";
import type { VcpuPlan } from "./plan.ts";

const APIC_LVT_LINT0 = 0x350;
const APIC_LVT_LINT1 = 0x360;
const APIC_MODE_NMI = 0x4 << 8;
const APIC_MODE_EXTINT = 0x7 << 8;

const MSR_IA32_MISC_ENABLE = 0x1a0;
const MISC_ENABLE_FAST_STRING = 1n;

export function setUpVcpu(vcpu: Vcpu, plan: VcpuPlan): void {
  vcpu.setCpuid(plan.cpuid);
  wireLocalInterrupts(vcpu);
  try {
    vcpu.setMsr(MSR_IA32_MISC_ENABLE, MISC_ENABLE_FAST_STRING);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // not on every processor
  }
  if (plan.entry !== undefined) enterProtocol(vcpu, plan.entry);
}

/** LINT0 takes the PIC's interrupts and LINT1 NMIs, as the MP table says (Intel MP specification, section 5.1). */
function wireLocalInterrupts(vcpu: Vcpu): void {
  const regs = vcpu.getLapic();
  const view = new DataView(regs.buffer, regs.byteOffset, regs.byteLength);
  view.setUint32(APIC_LVT_LINT0, APIC_MODE_EXTINT, true);
  view.setUint32(APIC_LVT_LINT1, APIC_MODE_NMI, true);
  vcpu.setLapic(regs);
}

function enterProtocol(vcpu: Vcpu, entry: InitialCpuState): void {
  const sregs = vcpu.getSregs();
  const data = segment(entry.data);
  vcpu.setSregs({
    ...sregs,
    cs: segment(entry.cs),
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    tr: segment(entry.tr),
    gdt: { ...sregs.gdt, base: BigInt(entry.gdt.base), limit: entry.gdt.limit },
    idt: { ...sregs.idt, base: BigInt(entry.idt.base), limit: entry.idt.limit },
    cr0: BigInt(entry.cr0),
    cr3: BigInt(entry.cr3),
    cr4: BigInt(entry.cr4),
    efer: BigInt(entry.efer),
  });
  const regs = new BigUint64Array(kvm_regs_words);
  regs[RIP] = BigInt(entry.rip);
  regs[RSP] = BigInt(entry.rsp);
  regs[RBX] = BigInt(entry.rbx);
  regs[RSI] = BigInt(entry.rsi);
  regs[RFLAGS] = BigInt(entry.rflags);
  vcpu.setRegs(regs);
}

function segment(initial: InitialSegment): kvm_segment {
  return { ...initial, base: BigInt(initial.base), avl: 0, unusable: 0, padding: 0 };
}
