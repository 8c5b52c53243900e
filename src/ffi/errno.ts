import { constants } from "node:os";
import { TsvmError } from "../errors.ts";

const NAME_BY_ERRNO = new Map<number, string>(
  // Reversed: of several names for a value (EAGAIN, EWOULDBLOCK) the first one counts.
  Object.entries(constants.errno)
    .reverse()
    .map(([name, value]) => [value, name]),
);

/** The symbolic name of an errno value (`"ENOENT"`), or `"errno 4711"` where Linux defines none. */
export function errnoName(errno: number): string {
  return NAME_BY_ERRNO.get(errno) ?? `errno ${errno}`;
}

/** A system call that failed. `errno` is positive, `errnoName` symbolic. */
export class SystemCallError extends TsvmError {
  override name = "SystemCallError";
  /** The call as the reader knows it, for instance `mmap` or `KVM_CREATE_VM`. */
  readonly call: string;
  readonly errno: number;
  readonly errnoName: string;

  constructor(call: string, errno: number, options: { hint?: string; subject?: string } = {}) {
    const name = errnoName(errno);
    const subject = options.subject === undefined ? "" : `${options.subject}: `;
    super("ERR_SYSTEM_CALL", `${subject}${call} failed: ${name}`, { hint: options.hint });
    this.call = call;
    this.errno = errno;
    this.errnoName = name;
  }
}
