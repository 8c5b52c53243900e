/** Makes images with the tools of others, and reads them with theirs, to compare with. */
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../../../../test/support/needs.ts";
import { ImageReader } from "../../source/block-reader.ts";
import type { BlockSource } from "../../source/block-source.ts";
import { fileSource } from "../../source/file-source.ts";

const TIME_LIMIT_MS = 60_000;

export interface Workspace {
  readonly directory: string;
  /** A path in it. */
  path(name: string): string;
  /** Opens a file of it as a source; closed with the workspace. */
  source(path: string): BlockSource;
  reader(path: string): ImageReader;
  remove(): void;
}

export function workspace(): Workspace {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-fs-"));
  const fds: number[] = [];
  const source = (path: string): BlockSource => {
    const fd = openSync(path, "r");
    fds.push(fd);
    return fileSource(path, fd, fstatSync(fd).size);
  };
  return {
    directory,
    path: (name) => join(directory, name),
    source,
    reader: (path) => new ImageReader(path, source(path)),
    remove() {
      for (const fd of fds.splice(0)) closeSync(fd);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export function run(name: string, args: readonly string[], input?: string): string {
  return execFileSync(findTool(name)!, args, {
    encoding: "utf8",
    stdio: "pipe",
    timeout: TIME_LIMIT_MS,
    maxBuffer: 256 * 2 ** 20,
    ...(input === undefined ? {} : { input }),
  });
}

/** A sparse file of this size, in MiB. */
export function blank(path: string, mebibytes: number): string {
  writeFileSync(path, "");
  truncateSync(path, mebibytes * 2 ** 20);
  return path;
}

/** Runs commands of debugfs on an image, writing to it. */
export function debugfs(image: string, ...commands: readonly string[]): string {
  const { stdout, stderr, status } = spawnSync(findTool("debugfs")!, ["-w", "-f", "-", image], {
    encoding: "utf8",
    input: commands.join("\n"),
    timeout: TIME_LIMIT_MS,
    maxBuffer: 256 * 2 ** 20,
  });
  if (status !== 0) throw new Error(`debugfs failed: ${stderr}`);
  return stdout;
}

/** A source in memory. */
export function memorySource(bytes: Uint8Array): BlockSource {
  return { size: bytes.length, read: (offset, length) => bytes.slice(offset, offset + length) };
}
