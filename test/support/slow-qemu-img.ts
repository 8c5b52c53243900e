/** A qemu-img that takes its time, for tests that interrupt it: the real one, with something before it. */
import { chmodSync, mkdirSync } from "node:fs";
import { delimiter } from "node:path";
import { findTool } from "./needs.ts";
import type { Scratch } from "./scratch.ts";

/**
 * @param script Of a shell, with the arguments in "$@"; what it does not `exec` itself, the real one does.
 * @returns The environment in which it is found.
 */
export function slowQemuImg(files: Scratch, name: string, script: string): { PATH: string } {
  mkdirSync(files.path(name));
  const text = `#!/bin/sh\nqemu_img=${findTool("qemu-img")}\n${script}\nexec "$qemu_img" "$@"\n`;
  chmodSync(files.path(`${name}/qemu-img`, text), 0o755);
  return { PATH: `${files.path(name)}${delimiter}${process.env.PATH}` };
}

/** Copies 1 MiB per second. */
export const SLOW_CONVERT = `if [ "$1" = convert ]; then shift; exec "$qemu_img" convert -r 1M "$@"; fi`;
