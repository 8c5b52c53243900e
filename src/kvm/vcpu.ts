import { kvm_regs_words } from "./abi/registers.ts";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "../ffi/constants.ts";
import type { Struct } from "../ffi/struct.ts";
import { ioctl, mmap, munmap, view } from "../ffi/libc.ts";
import { ioctls, type Ioctl } from "./abi/ioctls.ts";
import { callStruct } from "./call.ts";
import {
  kvm_cpuid2,
  kvm_cpuid_entry2,
  kvm_lapic_state,
  kvm_mp_state,
  kvm_msr_entry,
  kvm_msrs,
  kvm_run,
  kvm_signal_mask,
  kvm_sregs,
  kvm_vcpu_events,
  kvm_xcrs,
  kvm_xsave,
} from "./abi/structs.ts";

const RUN_REQUEST = ioctls.KVM_RUN.request;
/** In a bundle of several files an import is looked up at each use: not here. */
const enterGuest = ioctl;

/**
 * One virtual processor. Documentation/virt/kvm/api.rst, "vcpu ioctls". Use it from one thread.
 *
 * The kvm_run page is visible as typed arrays, so that a loop over exits allocates nothing.
 */
export class Vcpu {
  readonly fd: number;
  /** The shared kvm_run mapping. */
  readonly runPage: Uint8Array;
  readonly runPage16: Uint16Array;
  readonly runPage32: Uint32Array;
  readonly runView: DataView;
  /** Host address of the mapping. */
  readonly address: number;

  /** `mmapSize` is what KVM_GET_VCPU_MMAP_SIZE said. */
  constructor(fd: number, mmapSize: number) {
    this.fd = fd;
    this.address = mmap(mmapSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    const buffer = view(this.address, mmapSize);
    this.runPage = new Uint8Array(buffer);
    this.runPage16 = new Uint16Array(buffer);
    this.runPage32 = new Uint32Array(buffer);
    this.runView = new DataView(buffer);
  }

  /** Runs the guest until the next exit. Returns -1 (with errno) where the system call failed or was interrupted. */
  run(): number {
    return enterGuest(this.fd, RUN_REQUEST, 0);
  }

  unmap(): void {
    munmap(this.address, this.runPage.length);
  }

  /** Which registers KVM_RUN leaves in kvm_run.s on each exit (KVM_SYNC_X86_*). */
  setSyncRegs(valid: number): void {
    this.runView.setUint32(kvm_run.offset.kvm_valid_regs, valid, true);
  }

  setCpuid(entries: readonly kvm_cpuid_entry2[]): void {
    const buffer = new Uint8Array(kvm_cpuid2.size + entries.length * kvm_cpuid_entry2.size);
    buffer.set(kvm_cpuid2.pack({ nent: entries.length }));
    for (const [index, entry] of entries.entries()) {
      buffer.set(kvm_cpuid_entry2.pack(entry), kvm_cpuid2.size + index * kvm_cpuid_entry2.size);
    }
    this.#call(ioctls.KVM_SET_CPUID2, buffer);
  }

  /** The general registers: 18 64-bit values in the order of kvm_regs. */
  getRegs(): BigUint64Array {
    const regs = new BigUint64Array(kvm_regs_words);
    this.#call(ioctls.KVM_GET_REGS, regs);
    return regs;
  }

  setRegs(regs: BigUint64Array): void {
    this.#call(ioctls.KVM_SET_REGS, regs);
  }

  getSregs(): kvm_sregs {
    return this.#get(ioctls.KVM_GET_SREGS, kvm_sregs);
  }

  setSregs(sregs: kvm_sregs): void {
    this.#call(ioctls.KVM_SET_SREGS, kvm_sregs.pack(sregs));
  }

  getVcpuEvents(): kvm_vcpu_events {
    return this.#get(ioctls.KVM_GET_VCPU_EVENTS, kvm_vcpu_events);
  }

  setVcpuEvents(events: kvm_vcpu_events): void {
    this.#call(ioctls.KVM_SET_VCPU_EVENTS, kvm_vcpu_events.pack(events));
  }

  /** Model-specific register `index`. Throws where KVM does not know it. */
  getMsr(index: number): bigint {
    const buffer = msrBuffer(index, 0n);
    this.#msr(ioctls.KVM_GET_MSRS, buffer, index);
    return kvm_msr_entry.unpack(buffer, kvm_msrs.size).data;
  }

  setMsr(index: number, data: bigint): void {
    this.#msr(ioctls.KVM_SET_MSRS, msrBuffer(index, data), index);
  }

  /** The 1 KiB register page of the local APIC. */
  getLapic(): Uint8Array {
    const regs = new Uint8Array(kvm_lapic_state.size);
    this.#call(ioctls.KVM_GET_LAPIC, regs);
    return regs;
  }

  setLapic(regs: Uint8Array): void {
    this.#call(ioctls.KVM_SET_LAPIC, regs);
  }

  /** KVM_MP_STATE_*: whether the vCPU runs, waits for an interrupt, or has not been started. */
  getMpState(): number {
    return this.#get(ioctls.KVM_GET_MP_STATE, kvm_mp_state).mp_state;
  }

  /** Fills `area` (4096 bytes) with the extended state in the standard XSAVE format. */
  getXsave(area: Uint8Array = new Uint8Array(kvm_xsave.size)): Uint8Array {
    this.#call(ioctls.KVM_GET_XSAVE, area);
    return area;
  }

  setXsave(area: Uint8Array): void {
    this.#call(ioctls.KVM_SET_XSAVE, area);
  }

  getXcr0(): bigint {
    const { nr_xcrs, xcrs } = this.#get(ioctls.KVM_GET_XCRS, kvm_xcrs);
    return xcrs.slice(0, nr_xcrs).find(({ xcr }) => xcr === 0)?.value ?? 1n;
  }

  setXcr0(value: bigint): void {
    this.#call(ioctls.KVM_SET_XCRS, kvm_xcrs.pack({ nr_xcrs: 1, xcrs: [{ xcr: 0, reserved: 0, value }] }));
  }

  /** The set of blocked signals while the guest runs (bit n - 1 for signal n); elsewhere the thread's own set holds. */
  setSignalMask(sigset: Uint8Array): void {
    this.#call(ioctls.KVM_SET_SIGNAL_MASK, kvm_signal_mask.pack({ len: 8, sigset }));
  }

  /**
   * Tells the guest through its kvmclock that it has been stopped by its host, so that its soft-lockup watchdog takes the gap for
   * what it is. A guest that has no kvmclock cannot be told.
   */
  excuseFromWatchdog(): void {
    ioctl(this.fd, ioctls.KVM_KVMCLOCK_CTRL.request, 0);
  }

  #call(call: Ioctl, argument: ArrayBufferView): number {
    return callStruct(this.fd, call, argument);
  }

  #get<C>(call: Ioctl, layout: Struct<C>): C {
    const buffer = layout.pack();
    this.#call(call, buffer);
    return layout.unpack(buffer);
  }

  #msr(call: Ioctl, buffer: Uint8Array, index: number): void {
    // The result counts the registers that were taken; 0 means that KVM refused this one.
    if (this.#call(call, buffer) !== 1) {
      throw new RangeError(`${call.name}: no MSR 0x${index.toString(16)} on this host`);
    }
  }
}

function msrBuffer(index: number, data: bigint): Uint8Array {
  const buffer = new Uint8Array(kvm_msrs.size + kvm_msr_entry.size);
  buffer.set(kvm_msrs.pack({ nmsrs: 1 }));
  buffer.set(kvm_msr_entry.pack({ index, data }), kvm_msrs.size);
  return buffer;
}
