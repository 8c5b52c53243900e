/**
 * The error hierarchy of tsvm. One base class, one subclass per kind of mistake; each carries a stable `code`, what
 * failed, and a hint that says what to do about it. The CLI prints `message` and `hint`, never a stack trace.
 */
export class TsvmError extends Error {
  override name = "TsvmError";
  /** Stable, machine-readable identifier such as `ERR_KERNEL_FORMAT`. */
  readonly code: string;
  /** What the reader can do about it; undefined where nothing better than the message can be said. */
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** Whether it is one of ours; also one of another bundle, which has a class of its own. */
export function isTsvmError(error: unknown): error is TsvmError {
  return error instanceof TsvmError || (error instanceof Error && "hint" in error && "code" in error);
}
