/**
 * Sizes, offsets and numbers of the KVM API for tests: under which name <linux/kvm.h> has each of ours.
 */
import type { Struct } from "../../ffi/struct.ts";
import * as constants from "../abi/constants.ts";
import { ioctls } from "../abi/ioctls.ts";
import * as structs from "../abi/structs.ts";

/** Members of structs that have no type of their own in the kernel: parts of the union in kvm_run. */
const RUN_UNION: Readonly<Record<string, string>> = {
  kvm_exit_io: "io",
  kvm_exit_mmio: "mmio",
  kvm_exit_emulation_failure: "emulation_failure",
  kvm_exit_fail_entry: "fail_entry",
  kvm_exit_system_event: "system_event",
};

/** Fields that the kernel nests deeper than we do. */
const FIELD: Readonly<Record<string, string>> = {
  "kvm_vcpu_events.exception_injected": "exception.injected",
  "kvm_vcpu_events.exception_nr": "exception.nr",
  "kvm_vcpu_events.exception_has_error_code": "exception.has_error_code",
  "kvm_vcpu_events.exception_pending": "exception.pending",
  "kvm_vcpu_events.exception_error_code": "exception.error_code",
  "kvm_vcpu_events.interrupt_injected": "interrupt.injected",
  "kvm_vcpu_events.interrupt_nr": "interrupt.nr",
  "kvm_vcpu_events.interrupt_soft": "interrupt.soft",
  "kvm_vcpu_events.interrupt_shadow": "interrupt.shadow",
  "kvm_vcpu_events.nmi_injected": "nmi.injected",
  "kvm_vcpu_events.nmi_pending": "nmi.pending",
  "kvm_vcpu_events.nmi_masked": "nmi.masked",
  "kvm_vcpu_events.nmi_pad": "nmi.pad",
  "kvm_vcpu_events.triple_fault_pending": "triple_fault.pending",
  // The first member of the union of exit details.
  "kvm_run.exit": "hw",
  "kvm_run.s_regs": "s.regs.regs",
  "kvm_run.s_sregs": "s.regs.sregs",
  "kvm_run.s_events": "s.regs.events",
};

/** Structs whose size here is on purpose not the kernel's: only the beginning is declared. */
const PARTIAL = new Set([
  "kvm_run",
  "kvm_exit_emulation_failure",
  "kvm_exit_system_event",
  // Our signal mask includes the set that follows the kernel's header.
  "kvm_signal_mask",
]);

const isStruct = (value: unknown): value is Struct<Record<string, unknown>> =>
  typeof value === "object" && value !== null && "offset" in value && "pack" in value;

/** Every number that the kernel's headers define too: ours by name, and the C expression for theirs. */
export function abiNumbers(): { ours: Record<string, number>; expressions: Record<string, string> } {
  const ours: Record<string, number> = {};
  const expressions: Record<string, string> = {};
  const add = (key: string, value: number, expression: string): void => {
    ours[key] = value;
    expressions[key] = expression;
  };
  for (const [name, { request }] of Object.entries(ioctls)) add(name, request, `(unsigned)${name}`);
  for (const [name, number] of Object.entries(constants.capabilities)) add(name, number, name);
  for (const module of [constants, structs]) {
    for (const [name, value] of Object.entries(module)) if (typeof value === "number") add(name, value, name);
  }
  for (const layout of Object.values(structs)) {
    if (!isStruct(layout)) continue;
    const member = RUN_UNION[layout.name];
    const type = member === undefined ? `struct ${layout.name}` : "struct kvm_run";
    const prefix = member === undefined ? "" : `${member}.`;
    if (!PARTIAL.has(layout.name)) {
      const of = member === undefined ? type : `((struct kvm_run *)0)->${member}`;
      add(`sizeof ${layout.name}`, layout.size, `sizeof(${of})`);
    }
    const start = member === undefined ? "0" : `offsetof(struct kvm_run, ${member})`;
    for (const [field, offset] of Object.entries(layout.offset)) {
      const key = `${layout.name}.${field}`;
      add(key, offset, `offsetof(${type}, ${prefix}${FIELD[key] ?? field}) - ${start}`);
    }
  }
  return { ours, expressions };
}
