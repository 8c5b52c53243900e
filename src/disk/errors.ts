import { TsvmError } from "../errors.ts";

/** A disk image that cannot be used; says which and why. */
export class DiskError extends TsvmError {
  override name = "DiskError";
  readonly path: string;
  constructor(path: string, message: string, hint?: string, cause?: unknown) {
    super("ERR_DISK", `disk ${path}: ${message}`, { hint, cause });
    this.path = path;
  }
}
