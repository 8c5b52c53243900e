import { isAbsolute } from "node:path";

/** A path for qemu-img's command line, which it takes neither for an option (`-x`) nor for a protocol (`nbd:x`). */
export function fileArgument(path: string): string {
  return isAbsolute(path) ? path : `./${path}`;
}

/** The same for the name of a backing file: as short as it can be, since people read it. */
export function backingArgument(path: string): string {
  // As QEMU has it: a colon before any slash makes a protocol.
  return /^[^/]*:/.test(path) ? `./${path}` : path;
}
