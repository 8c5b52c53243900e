/** What can go wrong before the first guest instruction. */
import { TsvmError } from "../errors.ts";

/** The file is no kernel, no kernel for this machine, or a damaged one. */
export class KernelFormatError extends TsvmError {
  override name = "KernelFormatError";
  constructor(message: string, hint?: string) {
    super("ERR_KERNEL_FORMAT", message, { hint });
  }
}

/** The kernel file ends before what its headers announce. */
export class KernelTruncatedError extends TsvmError {
  override name = "KernelTruncatedError";
  /** Bytes that are missing at the end of the file. */
  readonly missingBytes: number;
  constructor(message: string, missingBytes: number) {
    super("ERR_KERNEL_TRUNCATED", message, { hint: "copy, download or build the file again" });
    this.missingBytes = missingBytes;
  }
}

/** Kernel or initrd need more guest memory than there is. */
export class GuestTooSmallError extends TsvmError {
  override name = "GuestTooSmallError";
  /** The least guest memory, in bytes, that would do; undefined where more memory would not help. */
  readonly neededBytes: number | undefined;
  constructor(message: string, neededBytes: number | undefined, hint?: string) {
    super("ERR_GUEST_TOO_SMALL", message, { hint });
    this.neededBytes = neededBytes;
  }
}

/** A kernel command line that the kernel could not take as it is. */
export class CommandLineError extends TsvmError {
  override name = "CommandLineError";
  constructor(message: string, hint?: string) {
    super("ERR_COMMAND_LINE", message, { hint });
  }
}

/** A kernel or initrd file that cannot be opened or read. */
export class BootFileError extends TsvmError {
  override name = "BootFileError";
  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("ERR_BOOT_FILE", message, options);
  }
}

/** More or fewer processors than the tables of the boot code can describe. */
export class ProcessorCountError extends TsvmError {
  override name = "ProcessorCountError";
  constructor(message: string) {
    super("ERR_PROCESSOR_COUNT", message);
  }
}
