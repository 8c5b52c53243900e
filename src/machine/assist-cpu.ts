/**
 * The vCPU as instruction completion sees it ({@link AssistCpu}): registers live in the kvm_run page (KVM_CAP_SYNC_REGS), the
 * rest is fetched with ioctls when asked for.
 */
import { kvm_regs_words } from "../kvm/abi/registers.ts";
import type { AssistCpu, CpuidResult, SpecialRegisters } from "../emulation/cpu.ts";
import type { Lock } from "../devices/lock.ts";
import {
  kvm_run,
  kvm_sregs,
  kvm_vcpu_events,
  KVM_SYNC_X86_EVENTS,
  KVM_SYNC_X86_REGS,
  KVM_SYNC_X86_SREGS,
  type kvm_cpuid_entry2,
} from "../kvm/abi/structs.ts";
import type { GuestMemory } from "../kvm/guest-memory.ts";
import type { Vcpu } from "../kvm/vcpu.ts";

const SYNCED = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
const CR4_PGE = 1n << 7n;
const SIGNIFICANT_SUBLEAF = 1;

export class KvmAssistCpu implements AssistCpu {
  readonly regs: BigUint64Array;
  readonly #vcpu: Vcpu;
  readonly #memory: GuestMemory;
  readonly #cpuid: readonly kvm_cpuid_entry2[];
  readonly #lock: Lock;
  readonly #xsave = new Uint8Array(4096);
  #sregs: kvm_sregs | undefined;
  #xcr0: bigint | undefined;
  #dirty = 0;

  constructor(vcpu: Vcpu, memory: GuestMemory, cpuid: readonly kvm_cpuid_entry2[], lock: Lock) {
    this.#vcpu = vcpu;
    this.#memory = memory;
    this.#cpuid = cpuid;
    this.#lock = lock;
    this.regs = new BigUint64Array(vcpu.runPage.buffer, kvm_run.offset.s_regs, kvm_regs_words);
  }

  /** From the next exit on, KVM leaves the registers in the kvm_run page. */
  enableSync(): void {
    this.#vcpu.setSyncRegs(SYNCED);
  }

  /** Forgets what it knew of the vCPU: call on each exit before a completion. */
  begin(): void {
    this.#sregs = undefined;
    this.#xcr0 = undefined;
    this.#dirty = KVM_SYNC_X86_REGS;
  }

  /** Makes KVM take over what has changed when the guest is entered again. */
  end(): void {
    this.#vcpu.runView.setUint32(kvm_run.offset.kvm_dirty_regs, this.#dirty, true);
  }

  get sregs(): SpecialRegisters {
    return (this.#sregs ??= kvm_sregs.unpack(this.#vcpu.runPage, kvm_run.offset.s_sregs));
  }

  commitSregs(): void {
    if (this.#sregs === undefined) return;
    kvm_sregs.set(this.#vcpu.runView, kvm_run.offset.s_sregs, this.#sregs);
    this.#dirty |= KVM_SYNC_X86_SREGS;
  }

  getXsave(): Uint8Array {
    return this.#vcpu.getXsave(this.#xsave);
  }

  setXsave(area: Uint8Array): void {
    this.#vcpu.setXsave(area);
  }

  xcr0(): bigint {
    return (this.#xcr0 ??= this.#vcpu.getXcr0());
  }

  setXcr0(value: bigint): void {
    this.#vcpu.setXcr0(value);
    this.#xcr0 = value;
  }

  getMsr(index: number): bigint {
    return this.#vcpu.getMsr(index);
  }

  setMsr(index: number, value: bigint): void {
    this.#vcpu.setMsr(index, value);
  }

  cpuid(leaf: number, subleaf: number): CpuidResult {
    const entry = this.#cpuid.find(
      ({ function: number, index, flags }) =>
        number === leaf && ((flags & SIGNIFICANT_SUBLEAF) === 0 || index === subleaf),
    );
    return entry ?? { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  }

  readPhysical(gpa: number, into: Uint8Array): boolean {
    if (!this.#memory.contains(gpa, into.length)) return false;
    if (into.length > 8) into.set(this.#memory.viewOf(gpa, into.length));
    else for (let at = 0; at < into.length; at++) into[at] = this.#memory.getUint8(gpa + at);
    return true;
  }

  writePhysical(gpa: number, bytes: Uint8Array): boolean {
    if (!this.#memory.contains(gpa, bytes.length)) return false;
    if (bytes.length > 8) this.#memory.write(gpa, bytes);
    else for (let at = 0; at < bytes.length; at++) this.#memory.setUint8(gpa + at, bytes[at]!);
    return true;
  }

  compareExchangePhysical(gpa: number, expected: bigint, replacement: bigint): bigint | undefined {
    if (!this.#memory.contains(gpa, 8)) return undefined;
    return this.#memory.compareExchange64(gpa, expected, replacement);
  }

  lockMemory(): void {
    this.#lock.acquire();
  }

  unlockMemory(): void {
    this.#lock.release();
  }

  flushTlb(): void {
    // Setting CR4 to another value and back makes KVM rebuild its translations.
    this.commitSregs();
    const sregs = this.#vcpu.getSregs();
    this.#vcpu.setSregs({ ...sregs, cr4: sregs.cr4 ^ CR4_PGE });
    this.#vcpu.setSregs(sregs);
  }

  markDirty(): void {
    // No dirty log is in use yet.
  }

  injectException(vector: number, errorCode?: number, cr2?: bigint): void {
    const { runPage, runView } = this.#vcpu;
    const events = kvm_vcpu_events.unpack(runPage, kvm_run.offset.s_events);
    events.exception_injected = 1;
    events.exception_pending = 0;
    events.exception_nr = vector;
    events.exception_has_error_code = errorCode === undefined ? 0 : 1;
    events.exception_error_code = errorCode ?? 0;
    kvm_vcpu_events.set(runView, kvm_run.offset.s_events, events);
    this.#dirty |= KVM_SYNC_X86_EVENTS;
    if (cr2 !== undefined) {
      this.sregs.cr2 = cr2;
      this.commitSregs();
    }
  }
}
