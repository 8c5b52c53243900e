/**
 * Completion of one instruction that KVM's in-kernel emulator gave up on. Called from the vCPU loop on
 * KVM_EXIT_INTERNAL_ERROR with KVM_INTERNAL_ERROR_EMULATION and from nowhere else: a sane guest on a host with VMX or SVM
 * never gets here.
 */
import { JUMPED, NOT_HANDLED } from "./complete/family.ts";
import { completerOf } from "./complete/table.ts";
import type { AssistCpu } from "./cpu.ts";
import { MAP_0F, type Instruction } from "./decode.ts";
import { CannotComplete, GuestFault, generalProtection, invalidOpcode } from "./fault.ts";
import { fetchInstruction } from "./fetch.ts";
import { nameInstruction } from "./mnemonics.ts";
import { RF, RFLAGS, RIP } from "./registers.ts";

/** How a completion ended. */
export type Completion =
  /** The guest can go on; `regs` has what it goes on with. */
  | { readonly kind: "completed" }
  /** The instruction raised an exception, which is injected; the guest can go on. */
  | { readonly kind: "exception"; readonly vector: number }
  /** Nobody can complete this: the guest cannot go on. `UnsupportedInstructionError` says so. */
  | {
      readonly kind: "unsupported";
      /** As a disassembler would print it, for instance `vpxor ymm0, ymm1, ymm2`. */
      readonly name: string;
      /** The instruction in hexadecimal, two digits a byte, separated by blanks. */
      readonly bytes: string;
      readonly rip: bigint;
      /** Why, where the instruction as such is known. */
      readonly reason: string | undefined;
    };

const COMPLETED: Completion = { kind: "completed" };

/**
 * Completes the instruction at CS:RIP. `bytes` are those of the exit (`insn_bytes`): none, some, or all of it with
 * what follows; what is missing is read from guest memory.
 *
 * @example
 * const completion = completeInstruction(cpu, exit.insnBytes);
 * if (completion.kind === "unsupported") throw new UnsupportedInstructionError(cpu, completion);
 */
export function completeInstruction(cpu: AssistCpu, bytes: Uint8Array): Completion {
  const rip = cpu.regs[RIP]!;
  let insn: Instruction | undefined;
  let fetched = bytes;
  try {
    const fetch = fetchInstruction(cpu, bytes);
    insn = fetch.insn;
    fetched = fetch.bytes;
    checkEncoding(insn);
    const outcome = completerOf(insn)?.(cpu, insn) ?? NOT_HANDLED;
    if (outcome === NOT_HANDLED) return unsupported(insn, fetched, rip, undefined);
    if (outcome !== JUMPED) cpu.regs[RIP] = nextRip(rip, insn);
    cpu.regs[RFLAGS] = cpu.regs[RFLAGS]! & ~RF;
    return COMPLETED;
  } catch (error) {
    if (error instanceof GuestFault) {
      cpu.injectException(error.vector, error.errorCode, error.cr2);
      return { kind: "exception", vector: error.vector };
    }
    if (error instanceof CannotComplete) return unsupported(insn, fetched, rip, error.message);
    throw error;
  }
}

function checkEncoding(insn: Instruction): void {
  if (insn.length > 15) throw generalProtection();
  if (insn.invalid) throw invalidOpcode();
  if (insn.lock && !(insn.map === MAP_0F && insn.opcode === 0xc7 && insn.memory && insn.group === 1)) {
    // Of what is completed only CMPXCHG8B and CMPXCHG16B take LOCK; of the rest nothing is known.
    if (completerOf(insn) !== undefined) throw invalidOpcode();
  }
}

function nextRip(rip: bigint, insn: Instruction): bigint {
  const next = rip + BigInt(insn.length);
  return BigInt.asUintN(insn.codeSize, next);
}

function unsupported(
  insn: Instruction | undefined,
  bytes: Uint8Array,
  rip: bigint,
  reason: string | undefined,
): Completion {
  const known = insn !== undefined && !insn.truncated;
  return {
    kind: "unsupported",
    name: known ? nameInstruction(insn, rip) : "(unreadable)",
    bytes: Buffer.from(known ? bytes.subarray(0, insn.length) : bytes)
      .toString("hex")
      .replace(/..(?=.)/g, "$& "),
    rip,
    reason,
  };
}
