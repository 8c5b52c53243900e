/** Struct layouts of the KVM API, spelled as in <linux/kvm.h> and <asm/kvm.h> (x86-64). */
import { array, bytes, struct, u16, u32, u64, u8, type StructValue } from "../../ffi/struct.ts";

export const kvm_userspace_memory_region = struct("kvm_userspace_memory_region", {
  slot: u32,
  flags: u32,
  guest_phys_addr: u64,
  memory_size: u64,
  userspace_addr: u64,
});

export const kvm_regs = struct("kvm_regs", {
  rax: u64,
  rbx: u64,
  rcx: u64,
  rdx: u64,
  rsi: u64,
  rdi: u64,
  rsp: u64,
  rbp: u64,
  r8: u64,
  r9: u64,
  r10: u64,
  r11: u64,
  r12: u64,
  r13: u64,
  r14: u64,
  r15: u64,
  rip: u64,
  rflags: u64,
});

export const kvm_segment = struct("kvm_segment", {
  base: u64,
  limit: u32,
  selector: u16,
  type: u8,
  present: u8,
  dpl: u8,
  db: u8,
  s: u8,
  l: u8,
  g: u8,
  avl: u8,
  unusable: u8,
  padding: u8,
});
export type kvm_segment = StructValue<typeof kvm_segment>;

export const kvm_dtable = struct("kvm_dtable", { base: u64, limit: u16, padding: bytes(6) });

export const kvm_sregs = struct("kvm_sregs", {
  cs: kvm_segment,
  ds: kvm_segment,
  es: kvm_segment,
  fs: kvm_segment,
  gs: kvm_segment,
  ss: kvm_segment,
  tr: kvm_segment,
  ldt: kvm_segment,
  gdt: kvm_dtable,
  idt: kvm_dtable,
  cr0: u64,
  cr2: u64,
  cr3: u64,
  cr4: u64,
  cr8: u64,
  efer: u64,
  apic_base: u64,
  interrupt_bitmap: array(u64, 4),
});
export type kvm_sregs = StructValue<typeof kvm_sregs>;

export const kvm_vcpu_events = struct("kvm_vcpu_events", {
  exception_injected: u8,
  exception_nr: u8,
  exception_has_error_code: u8,
  exception_pending: u8,
  exception_error_code: u32,
  interrupt_injected: u8,
  interrupt_nr: u8,
  interrupt_soft: u8,
  interrupt_shadow: u8,
  nmi_injected: u8,
  nmi_pending: u8,
  nmi_masked: u8,
  nmi_pad: u8,
  sipi_vector: u32,
  flags: u32,
  smi: bytes(4),
  triple_fault_pending: u8,
  reserved: bytes(26),
  exception_has_payload: u8,
  exception_payload: u64,
});
export type kvm_vcpu_events = StructValue<typeof kvm_vcpu_events>;

export const kvm_mp_state = struct("kvm_mp_state", { mp_state: u32 });
export const KVM_MP_STATE_RUNNABLE = 0;
export const KVM_MP_STATE_UNINITIALIZED = 1;
export const KVM_MP_STATE_INIT_RECEIVED = 2;
export const KVM_MP_STATE_HALTED = 3;

export const kvm_lapic_state = struct("kvm_lapic_state", { regs: bytes(0x400) });
export const kvm_pit_config = struct("kvm_pit_config", { flags: u32, pad: array(u32, 15) });
export const KVM_PIT_SPEAKER_DUMMY = 1;

export const kvm_xsave = struct("kvm_xsave", { region: bytes(4096) });
export const kvm_xcr = struct("kvm_xcr", { xcr: u32, reserved: u32, value: u64 });
export const kvm_xcrs = struct("kvm_xcrs", {
  nr_xcrs: u32,
  flags: u32,
  xcrs: array(kvm_xcr, 16),
  padding: array(u64, 16),
});

export const kvm_msr_entry = struct("kvm_msr_entry", { index: u32, reserved: u32, data: u64 });
/** Header of kvm_msrs; `nmsrs` entries follow. */
export const kvm_msrs = struct("kvm_msrs", { nmsrs: u32, pad: u32 });

export const kvm_cpuid_entry2 = struct("kvm_cpuid_entry2", {
  function: u32,
  index: u32,
  flags: u32,
  eax: u32,
  ebx: u32,
  ecx: u32,
  edx: u32,
  padding: array(u32, 3),
});
export type kvm_cpuid_entry2 = StructValue<typeof kvm_cpuid_entry2>;
/** Header of kvm_cpuid2; `nent` entries follow. */
export const kvm_cpuid2 = struct("kvm_cpuid2", { nent: u32, padding: u32 });

export const kvm_irqfd = struct("kvm_irqfd", {
  fd: u32,
  gsi: u32,
  flags: u32,
  resamplefd: u32,
  pad: bytes(16),
});

export const kvm_ioeventfd = struct("kvm_ioeventfd", {
  datamatch: u64,
  addr: u64,
  len: u32,
  fd: u32,
  flags: u32,
  pad: bytes(36),
});
export const KVM_IOEVENTFD_FLAG_DATAMATCH = 1 << 0;

export const kvm_enable_cap = struct("kvm_enable_cap", {
  cap: u32,
  flags: u32,
  args: array(u64, 4),
  pad: bytes(64),
});

/** Header of kvm_signal_mask; `len` bytes of a kernel sigset follow. */
export const kvm_signal_mask = struct("kvm_signal_mask", { len: u32, sigset: bytes(8) });

/** The head of the shared kvm_run page; the union of exit details begins at `exit`. */
export const kvm_run = struct("kvm_run", {
  request_interrupt_window: u8,
  immediate_exit: u8,
  padding1: bytes(6),
  exit_reason: u32,
  ready_for_interrupt_injection: u8,
  if_flag: u8,
  flags: u16,
  cr8: u64,
  apic_base: u64,
  exit: bytes(256),
  kvm_valid_regs: u64,
  kvm_dirty_regs: u64,
  /** kvm_sync_regs: regs, sregs, events. */
  s_regs: kvm_regs,
  s_sregs: kvm_sregs,
  s_events: kvm_vcpu_events,
});

/** `exit` for KVM_EXIT_IO. `data_offset` counts from the start of the page. */
export const kvm_exit_io = struct("kvm_exit_io", {
  direction: u8,
  size: u8,
  port: u16,
  count: u32,
  data_offset: u64,
});
export const KVM_EXIT_IO_IN = 0;
export const KVM_EXIT_IO_OUT = 1;

/** `exit` for KVM_EXIT_MMIO. */
export const kvm_exit_mmio = struct("kvm_exit_mmio", {
  phys_addr: u64,
  data: bytes(8),
  len: u32,
  is_write: u8,
});

/** `exit` for KVM_EXIT_INTERNAL_ERROR with KVM_CAP_EXIT_ON_EMULATION_FAILURE (`emulation_failure`). */
export const kvm_exit_emulation_failure = struct("kvm_exit_emulation_failure", {
  suberror: u32,
  ndata: u32,
  flags: u64,
  insn_size: u8,
  insn_bytes: bytes(15),
});
export const KVM_INTERNAL_ERROR_EMULATION = 1;
export const KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES = 1;

/** `exit` for KVM_EXIT_FAIL_ENTRY. */
export const kvm_exit_fail_entry = struct("kvm_exit_fail_entry", {
  hardware_entry_failure_reason: u64,
  cpu: u32,
});

/** `exit` for KVM_EXIT_SYSTEM_EVENT. */
export const kvm_exit_system_event = struct("kvm_exit_system_event", { type: u32, ndata: u32, flags: u64 });

export const KVM_SYNC_X86_REGS = 1 << 0;
export const KVM_SYNC_X86_SREGS = 1 << 1;
export const KVM_SYNC_X86_EVENTS = 1 << 2;
