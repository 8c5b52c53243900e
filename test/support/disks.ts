/** Makes and checks ext4 images. */
import { execFileSync, spawnSync } from "node:child_process";
import { linkSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundledFile } from "../../src/images/bundled.ts";
import { findTool } from "./needs.ts";

const TIME_LIMIT_MS = 30_000;
/** What the tests call by name; busybox finds the rest as `busybox NAME`. */
const APPLETS = ["sh", "cat", "dd", "sync", "ls", "sleep", "sha256sum", "blkdiscard", "mount", "fstrim"];

function run(name: string, args: string[]): string {
  return execFileSync(findTool(name)!, args, { encoding: "utf8", stdio: "pipe", timeout: TIME_LIMIT_MS });
}

/** A tree with busybox in it, taken from the bundled root file system. */
export function makeTree(directory: string): string {
  for (const name of ["bin", "dev", "proc", "sys", "run", "tmp", "etc", "root"]) {
    mkdirSync(join(directory, name), { recursive: true });
  }
  const busybox = join(directory, "bin/busybox");
  run("debugfs", ["-R", `dump -p /bin/busybox ${busybox}`, bundledFile("rootfs.ext4")]);
  if (!readdirSync(join(directory, "bin")).includes("busybox")) throw new Error("debugfs made no busybox");
  for (const applet of APPLETS) linkSync(busybox, join(directory, "bin", applet));
  return directory;
}

/** An ext4 image, with a journal, of `tree` or with nothing in it. */
export function makeExt4(path: string, mebibytes: number, tree?: string): string {
  makeBlank(path, mebibytes);
  const content = tree === undefined ? [] : ["-d", tree];
  run("mke2fs", ["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,root_owner=0:0", ...content, path]);
  return path;
}

/** A sparse file. */
export function makeBlank(path: string, mebibytes: number): string {
  writeFileSync(path, "");
  truncateSync(path, mebibytes * 2 ** 20);
  return path;
}

/** Runs e2fsck: its exit status and what it said. */
export function e2fsck(flags: string, path: string): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(findTool("e2fsck")!, [flags, path], {
    encoding: "utf8",
    timeout: TIME_LIMIT_MS,
  });
  return { status, output: stdout + stderr };
}

/** Content of a file in an image. */
export function readFromImage(image: string, path: string): Buffer {
  return execFileSync(findTool("debugfs")!, ["-R", `cat ${path}`, image], {
    stdio: ["ignore", "pipe", "ignore"],
    maxBuffer: 64 * 2 ** 20,
    timeout: TIME_LIMIT_MS,
  });
}
