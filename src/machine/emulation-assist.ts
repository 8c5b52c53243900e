/**
 * The one door to instruction completion: an emulation failure of KVM comes in, a guest that can go on comes out, or an
 * error that names the instruction. Hardware KVM never comes here with a sane guest, so it pays nothing.
 */
import { completeInstruction, UnsupportedInstructionError } from "../emulation/index.ts";
import type { Lock } from "../devices/lock.ts";
import {
  KVM_INTERNAL_ERROR_EMULATION,
  KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES,
  kvm_exit_emulation_failure,
  kvm_run,
  type kvm_cpuid_entry2,
} from "../kvm/abi/structs.ts";
import type { GuestMemory } from "../kvm/guest-memory.ts";
import type { Vcpu } from "../kvm/vcpu.ts";
import { KvmAssistCpu } from "./assist-cpu.ts";
import { internalError } from "./exit-errors.ts";

const EXIT = kvm_run.offset.exit;
const F = kvm_exit_emulation_failure.offset;
/** `ndata` counts 64-bit words: flags, then two with the instruction. */
const NDATA_WITH_BYTES = 3;
const MAX_INSTRUCTION_BYTES = 15;

export class EmulationAssist {
  readonly #vcpu: Vcpu;
  readonly #makeMemory: () => GuestMemory;
  readonly #cpuid: readonly kvm_cpuid_entry2[];
  readonly #lock: Lock;
  readonly #syncRegs: boolean;
  #cpu: KvmAssistCpu | undefined;

  constructor(
    vcpu: Vcpu,
    makeMemory: () => GuestMemory,
    cpuid: readonly kvm_cpuid_entry2[],
    lock: Lock,
    syncRegs: boolean,
  ) {
    this.#vcpu = vcpu;
    this.#makeMemory = makeMemory;
    this.#cpuid = cpuid;
    this.#lock = lock;
    this.#syncRegs = syncRegs;
  }

  /** Completes the instruction on which KVM_RUN has just given up. Throws where nobody can. */
  complete(): void {
    const { runView } = this.#vcpu;
    const suberror = runView.getUint32(EXIT + F.suberror, true);
    if (suberror !== KVM_INTERNAL_ERROR_EMULATION || !this.#syncRegs)
      throw internalError(this.#vcpu, suberror);
    if (this.#cpu === undefined) {
      // The first time: let KVM share the registers, and meet the same instruction again.
      this.#cpu = new KvmAssistCpu(this.#vcpu, this.#makeMemory(), this.#cpuid, this.#lock);
      this.#cpu.enableSync();
      return;
    }
    this.#cpu.begin();
    const completion = completeInstruction(this.#cpu, this.#instructionBytes());
    this.#cpu.end();
    if (completion.kind === "unsupported") throw new UnsupportedInstructionError(this.#cpu, completion);
  }

  #instructionBytes(): Uint8Array {
    const { runPage, runView } = this.#vcpu;
    const hasBytes =
      runView.getUint32(EXIT + F.ndata, true) >= NDATA_WITH_BYTES &&
      (runView.getUint32(EXIT + F.flags, true) & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) !== 0;
    const size = hasBytes ? Math.min(runPage[EXIT + F.insn_size]!, MAX_INSTRUCTION_BYTES) : 0;
    return runPage.subarray(EXIT + F.insn_bytes, EXIT + F.insn_bytes + size);
  }
}
