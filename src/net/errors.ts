import { TsvmError } from "../errors.ts";

/** A network that cannot be had; says which and why. */
export class NetError extends TsvmError {
  override name = "NetError";
  constructor(message: string, hint?: string, cause?: unknown) {
    super("ERR_NET", `network: ${message}`, { hint, cause });
  }
}
