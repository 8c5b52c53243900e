import { TsvmError } from "../errors.ts";
import type { AssistCpu } from "./cpu.ts";
import type { Completion } from "./complete.ts";
import { RFLAGS, codeSize, privilegeLevel } from "./registers.ts";

/** The guest executed an instruction that neither KVM's emulator nor tsvm can carry out. */
export class UnsupportedInstructionError extends TsvmError {
  override name = "UnsupportedInstructionError";
  /** As a disassembler would print it. */
  readonly instruction: string;
  /** In hexadecimal. */
  readonly bytes: string;
  readonly rip: bigint;

  constructor(cpu: AssistCpu, completion: Extract<Completion, { kind: "unsupported" }>) {
    const { name, bytes, rip, reason } = completion;
    const mode = `${codeSize(cpu.sregs, cpu.regs[RFLAGS]!)}-bit code, CPL ${privilegeLevel(cpu)}`;
    const because = reason === undefined ? "" : `: ${reason}`;
    super(
      "ERR_UNSUPPORTED_INSTRUCTION",
      `the guest executed an instruction this host's software KVM cannot run and tsvm cannot complete: ` +
        `${name} (${bytes}) at RIP 0x${rip.toString(16)}, ${mode}${because}`,
      {
        hint:
          "run the guest on a host with hardware virtualization, or keep the guest kernel from using the instruction " +
          "(Linux: clearcpuid= on the kernel command line)",
      },
    );
    this.instruction = name;
    this.bytes = bytes;
    this.rip = rip;
  }
}
