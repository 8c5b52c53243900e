/** Where qemu-img is on this host, and what to do where it is not. */
import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { basename, delimiter, join } from "node:path";
import { TsvmError } from "../../errors.ts";

export class QemuImgMissingError extends TsvmError {
  override name = "QemuImgMissingError";
  constructor() {
    super("ERR_QEMU_IMG_MISSING", "this needs qemu-img, which is not in PATH", {
      hint: "install it: sudo apt-get install qemu-utils (the package is called qemu-img on Fedora and Alpine)",
    });
  }
}

/** Path of qemu-img. Throws a {@link QemuImgMissingError}. */
export function findQemuImg(): string {
  const path = findProgram("qemu-img");
  if (path === undefined) throw new QemuImgMissingError();
  return path;
}

/**
 * Path of util-linux's setpriv, which can have the kernel kill a process when its parent dies; that of busybox cannot.
 * Undefined where it is missing.
 */
export function findSetpriv(): string | undefined {
  const path = findProgram("setpriv");
  return path !== undefined && basename(realpathSync(path)) === "setpriv" ? path : undefined;
}

/** Only absolute directories count: nobody wants a program from wherever they happen to be. */
function findProgram(name: string): string | undefined {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .filter((directory) => directory.startsWith("/"))
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
