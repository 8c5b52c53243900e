import { TsvmError } from "../errors.ts";

/** /dev/kvm is missing, not permitted, or too old for tsvm. */
export class KvmUnavailableError extends TsvmError {
  override name = "KvmUnavailableError";
  constructor(message: string, hint: string, cause?: unknown) {
    super("ERR_KVM_UNAVAILABLE", message, { hint, cause });
  }
}

/** Guest memory that cannot be had, or an access outside it. */
export class GuestMemoryError extends TsvmError {
  override name = "GuestMemoryError";
  constructor(message: string, hint?: string, cause?: unknown) {
    super("ERR_GUEST_MEMORY", message, { hint, cause });
  }
}
