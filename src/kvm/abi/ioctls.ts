/** ioctl numbers of the KVM API: <linux/kvm.h>, computed from the struct layouts the way <asm-generic/ioctl.h> does. */
import * as s from "./structs.ts";

const KVMIO = 0xae;
const WRITE = 1;
const READ = 2;

function encode(direction: number, nr: number, size: number): number {
  // >>> 0: a set direction bit 31 would make the number negative.
  return ((direction << 30) | (size << 16) | (KVMIO << 8) | nr) >>> 0;
}
const io = (nr: number): number => encode(0, nr, 0);
const ior = (nr: number, size: number): number => encode(READ, nr, size);
const iow = (nr: number, size: number): number => encode(WRITE, nr, size);
const iowr = (nr: number, size: number): number => encode(READ | WRITE, nr, size);

/** An ioctl with its name, so that a failure can say which call it was. */
export interface Ioctl {
  readonly name: string;
  readonly request: number;
}

function named<T extends Record<string, number>>(requests: T): { readonly [K in keyof T]: Ioctl } {
  const table: Record<string, Ioctl> = {};
  for (const [name, request] of Object.entries(requests)) table[name] = { name, request };
  return table as { [K in keyof T]: Ioctl };
}

export const ioctls = named({
  // /dev/kvm
  KVM_GET_API_VERSION: io(0x00),
  KVM_CREATE_VM: io(0x01),
  KVM_CHECK_EXTENSION: io(0x03),
  KVM_GET_VCPU_MMAP_SIZE: io(0x04),
  KVM_GET_SUPPORTED_CPUID: iowr(0x05, s.kvm_cpuid2.size),
  // VM
  KVM_CREATE_VCPU: io(0x41),
  KVM_GET_DIRTY_LOG: iow(0x42, 16),
  KVM_SET_USER_MEMORY_REGION: iow(0x46, s.kvm_userspace_memory_region.size),
  KVM_SET_TSS_ADDR: io(0x47),
  KVM_SET_IDENTITY_MAP_ADDR: iow(0x48, 8),
  KVM_CREATE_IRQCHIP: io(0x60),
  KVM_IRQFD: iow(0x76, s.kvm_irqfd.size),
  KVM_CREATE_PIT2: iow(0x77, s.kvm_pit_config.size),
  KVM_IOEVENTFD: iow(0x79, s.kvm_ioeventfd.size),
  KVM_ENABLE_CAP: iow(0xa3, s.kvm_enable_cap.size),
  // vCPU
  KVM_RUN: io(0x80),
  KVM_GET_REGS: ior(0x81, s.kvm_regs.size),
  KVM_SET_REGS: iow(0x82, s.kvm_regs.size),
  KVM_GET_SREGS: ior(0x83, s.kvm_sregs.size),
  KVM_SET_SREGS: iow(0x84, s.kvm_sregs.size),
  KVM_GET_MSRS: iowr(0x88, s.kvm_msrs.size),
  KVM_SET_MSRS: iow(0x89, s.kvm_msrs.size),
  KVM_SET_SIGNAL_MASK: iow(0x8b, 4),
  KVM_GET_LAPIC: ior(0x8e, s.kvm_lapic_state.size),
  KVM_SET_LAPIC: iow(0x8f, s.kvm_lapic_state.size),
  KVM_SET_CPUID2: iow(0x90, s.kvm_cpuid2.size),
  KVM_GET_MP_STATE: ior(0x98, s.kvm_mp_state.size),
  KVM_SET_MP_STATE: iow(0x99, s.kvm_mp_state.size),
  KVM_GET_VCPU_EVENTS: ior(0x9f, s.kvm_vcpu_events.size),
  KVM_SET_VCPU_EVENTS: iow(0xa0, s.kvm_vcpu_events.size),
  KVM_GET_XSAVE: ior(0xa4, s.kvm_xsave.size),
  KVM_SET_XSAVE: iow(0xa5, s.kvm_xsave.size),
  KVM_GET_XCRS: ior(0xa6, s.kvm_xcrs.size),
  KVM_SET_XCRS: iow(0xa7, s.kvm_xcrs.size),
  KVM_KVMCLOCK_CTRL: io(0xad),
});
