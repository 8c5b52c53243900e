/** What can go wrong between a user and the VMs that are kept for him. */
import { TsvmError } from "../errors.ts";

export type ManagerErrorCode =
  | "ERR_VM_NAME"
  | "ERR_NO_VM"
  | "ERR_VM_EXISTS"
  | "ERR_VM_RUNNING"
  | "ERR_VM_NOT_RUNNING"
  /** Another tsvm is at work on the same VM. */
  | "ERR_VM_BUSY"
  /** One that it depends on cannot be had. */
  | "ERR_VM_DEPENDENCY"
  | "ERR_STATE_DIRECTORY"
  | "ERR_STATE_DAMAGED"
  | "ERR_STATE_VERSION"
  /** A monitor that does not start, answer or end as it should. */
  | "ERR_MONITOR";

export class ManagerError extends TsvmError {
  override name = "ManagerError";
  constructor(code: ManagerErrorCode, message: string, hint?: string, cause?: unknown) {
    super(code, message, { hint, cause });
  }
}

/** What a monitor has thrown, over here: its codes are those of all of tsvm. */
export class RemoteError extends TsvmError {
  override name = "RemoteError";
  constructor({ code, message, hint }: { code: string; message: string; hint?: string | undefined }) {
    super(code, message, { hint });
  }
}

/** An error of the file system below the state or runtime directory, in words. */
export function directoryError(action: string, path: string, error: unknown): ManagerError {
  const { code } = error as NodeJS.ErrnoException;
  const [reason, hint] = REASONS[code ?? ""] ?? [code ?? String(error), undefined];
  return new ManagerError("ERR_STATE_DIRECTORY", `${path}: ${action}: ${reason}`, hint, error);
}

const REASONS: Record<string, readonly [reason: string, hint?: string]> = {
  ENOSPC: ["no space left on the device", "free some space there; nothing has been changed"],
  EDQUOT: ["the disk quota is used up", "free some space there; nothing has been changed"],
  EROFS: ["the file system is read-only", "TSVM_STATE_DIR names another directory"],
  EACCES: ["permission denied", "TSVM_STATE_DIR and TSVM_RUNTIME_DIR name other directories"],
  EPERM: ["not permitted", "TSVM_STATE_DIR and TSVM_RUNTIME_DIR name other directories"],
  ENOTDIR: ["a part of the path is no directory", "TSVM_STATE_DIR names another directory"],
  ENOLCK: ["its file system has no locks", "TSVM_STATE_DIR names a directory on another one"],
  EMFILE: ["too many open files", "raise the limit: ulimit -n"],
};
