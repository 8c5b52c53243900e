import { TsvmError } from "../../errors.ts";

/** A partition table or file system that cannot be read: damaged, or of a kind that tsvm does not know. */
export class FilesystemError extends TsvmError {
  override name = "FilesystemError";
  /** The image, with the partition where there is one: `debian.qcow2:2`. */
  readonly image: string;

  constructor(image: string, message: string, hint?: string, cause?: unknown) {
    super("ERR_FILESYSTEM", `${image}: ${message}`, { hint, cause });
    this.image = image;
  }
}

export type PathProblem =
  "not-found" | "not-a-directory" | "is-a-directory" | "not-a-file" | "loop" | "too-large";

const PROBLEM_TEXT: Readonly<Record<PathProblem, string>> = {
  "not-found": "no such file or directory",
  "not-a-directory": "not a directory",
  "is-a-directory": "is a directory",
  "not-a-file": "neither a file nor a directory",
  loop: "too many symbolic links",
  "too-large": "too large to be read at once",
};

/** A path inside an image that does not lead to what was asked for. */
export class ImagePathError extends TsvmError {
  override name = "ImagePathError";
  /** The image, with the partition where there is one. */
  readonly image: string;
  readonly path: string;
  readonly problem: PathProblem;

  constructor(image: string, path: string, problem: PathProblem, hint?: string) {
    super("ERR_IMAGE_PATH", `${image}:${path}: ${PROBLEM_TEXT[problem]}`, { hint });
    this.image = image;
    this.path = path;
    this.problem = problem;
  }
}
