import { errnoName } from "../ffi/errno.ts";
import { TsvmError } from "../errors.ts";

export const EPERM = 1;
export const EIO = 5;
export const EROFS = 30;
export const EFBIG = 27;

/** A request that an image cannot fulfil. `errno` is what the guest's request ends with; the message is for the operator. */
export class ImageIoError extends TsvmError {
  override name = "ImageIoError";
  readonly path: string;
  readonly errno: number;

  constructor(path: string, errno: number, what: string) {
    super("ERR_DISK_IO", `disk ${path}: ${what}: ${errnoName(errno)}`);
    this.path = path;
    this.errno = errno;
  }
}

/** An image whose own tables contradict themselves. */
export class CorruptImageError extends ImageIoError {
  override name = "CorruptImageError";
  /** What is wrong, without the path. */
  readonly problem: string;

  constructor(path: string, problem: string) {
    super(path, EIO, `the image is damaged (${problem})`);
    this.problem = problem;
  }
}

/** The errno that the guest's request ends with. Throws `error` again if it is none of an image's. */
export function errnoOf(error: unknown): number {
  if (error instanceof ImageIoError) return error.errno;
  throw error;
}
