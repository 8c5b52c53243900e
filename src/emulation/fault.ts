/** How a completion that cannot go on says so to `completeInstruction`. Neither error leaves this folder. */
import { TsvmError } from "../errors.ts";
import { VECTOR_GP, VECTOR_NM, VECTOR_UD } from "./registers.ts";

/** The instruction raises an exception in the guest; RIP stays on it. */
export class GuestFault extends TsvmError {
  override name = "GuestFault";
  readonly vector: number;
  readonly errorCode: number | undefined;
  readonly cr2: bigint | undefined;

  constructor(vector: number, errorCode?: number, cr2?: bigint) {
    super("ERR_GUEST_FAULT", `exception ${vector} in the guest`);
    this.vector = vector;
    this.errorCode = errorCode;
    this.cr2 = cr2;
  }
}

/** The instruction is known, but not what it is asked to do here (a memory operand outside RAM, for instance). */
export class CannotComplete extends TsvmError {
  override name = "CannotComplete";

  constructor(reason: string) {
    super("ERR_CANNOT_COMPLETE", reason);
  }
}

export function invalidOpcode(): GuestFault {
  return new GuestFault(VECTOR_UD);
}

export function generalProtection(errorCode = 0): GuestFault {
  return new GuestFault(VECTOR_GP, errorCode);
}

export function deviceNotAvailable(): GuestFault {
  return new GuestFault(VECTOR_NM);
}
