import { describe, expect, it } from "vitest";
import { canCompile, evaluateC } from "../../ffi/testing/c-compiler.ts";
import { abiNumbers } from "../testing/kernel-abi.ts";
import { KERNEL_NUMBERS } from "../testing/kernel-numbers.ts";

const HEADERS = ["linux/version.h", "linux/kvm.h"];
const RECENT = "LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)";

describe("KVM ABI", () => {
  const { ours, expressions } = abiNumbers();

  it("has the sizes, offsets, ioctl and other numbers of the kernel's header", () => {
    expect(ours).toEqual(KERNEL_NUMBERS);
  });

  it("has all of the parts: structs, ioctls, capabilities, exits", () => {
    // So that a change to how the numbers are collected does not compare nothing with nothing.
    expect(ours).toMatchObject({
      "sizeof kvm_sregs": 312,
      "kvm_run.s_regs": 304,
      "kvm_exit_mmio.len": 16,
      KVM_RUN: 0xae80,
      KVM_CAP_SYNC_REGS: 74,
      KVM_EXIT_MMIO: 6,
      KVM_MP_STATE_HALTED: 3,
    });
  });

  it.skipIf(!canCompile(HEADERS, RECENT))(
    "agrees with the header of this host (needs gcc and <linux/kvm.h> of Linux 6.1 or newer)",
    () => {
      expect(ours).toEqual(evaluateC(HEADERS, expressions));
    },
  );
});
