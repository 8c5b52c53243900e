/** Completion of instructions that a software KVM's emulator lacks. See docs/software-kvm.md. */
export type { AssistCpu, CpuidResult, DescriptorTable, Segment, SpecialRegisters } from "./cpu.ts";
export { completeInstruction, type Completion } from "./complete.ts";
export { UnsupportedInstructionError } from "./unsupported-instruction-error.ts";
