/** Errors for exits after which a guest cannot go on. */
import { RIP } from "../kvm/abi/registers.ts";
import { TsvmError } from "../errors.ts";
import { kvm_exit_fail_entry, kvm_run } from "../kvm/abi/structs.ts";
import type { Vcpu } from "../kvm/vcpu.ts";

/** The guest did something that neither KVM nor tsvm can carry out. */
export class GuestCrashError extends TsvmError {
  override name = "GuestCrashError";
  constructor(message: string, hint?: string) {
    super("ERR_GUEST_CRASH", message, { hint });
  }
}

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** KVM_EXIT_FAIL_ENTRY: the processor refused the guest's state. */
export function entryFailure(vcpu: Vcpu): GuestCrashError {
  const { hardware_entry_failure_reason } = kvm_exit_fail_entry.unpack(vcpu.runPage, kvm_run.offset.exit);
  return new GuestCrashError(
    `the processor refused to enter the guest (reason ${hex(hardware_entry_failure_reason)}) at RIP ${hex(vcpu.getRegs()[RIP]!)}`,
    "the kernel log of the host (dmesg) may say more",
  );
}

/** KVM_EXIT_INTERNAL_ERROR other than an emulation failure. */
export function internalError(vcpu: Vcpu, suberror: number): GuestCrashError {
  return new GuestCrashError(
    `KVM internal error ${suberror} at RIP ${hex(vcpu.getRegs()[RIP]!)}`,
    "the kernel log of the host (dmesg) may say more",
  );
}

/** KVM_EXIT_SYSTEM_EVENT: the guest itself says that it has crashed. */
export function guestReportedCrash(): GuestCrashError {
  return new GuestCrashError("the guest reported a crash to KVM", "look at its console (--verbose)");
}

/** An exit reason that no machine of ours causes. */
export function unexpectedExit(vcpu: Vcpu): GuestCrashError {
  const { exit_reason } = kvm_run.unpack(vcpu.runPage);
  return new GuestCrashError(
    `KVM exit reason ${exit_reason} at RIP ${hex(vcpu.getRegs()[RIP]!)} is not one that tsvm handles`,
  );
}
