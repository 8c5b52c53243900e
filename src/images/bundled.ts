/**
 * The files of the bundled guest. The repository holds them compressed; they are unpacked once per content into the user's cache
 * directory, named by checksum, and verified while that is done.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";
import { TsvmError } from "../errors.ts";

/** `images/` of the package, seen from dist/ or from src/images/. */
const IMAGES = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "../../images/" : "../images/", import.meta.url),
);

const SPARSE_BLOCK = 4096;
const ZEROES = Buffer.alloc(SPARSE_BLOCK);

/** What images/manifest.json says of one file; the key is its name in images/. Digests are of the content as used. */
interface ManifestEntry {
  sha256: string;
  compressed?: { format: "brotli" };
}

export type BundledName = "vmlinux" | "rootfs.ext4" | "init" | "agent";

/** Path of a bundled file in usable form. Throws a TsvmError where it is missing or damaged. */
export function bundledFile(name: BundledName): string {
  const manifest = readManifest();
  if (manifest[name] !== undefined) return join(IMAGES, name);
  const stored = `${name}.br`;
  const entry = manifest[stored];
  if (entry === undefined) throw damaged(`images/manifest.json has no ${name}`);
  const directory = cacheDirectory();
  const unpacked = join(directory, `${name}-${entry.sha256.slice(0, 32)}`);
  if (!existsSync(unpacked)) unpack(stored, unpacked, directory, entry);
  return unpacked;
}

function unpack(stored: string, unpacked: string, directory: string, { sha256 }: ManifestEntry): void {
  let content: Buffer;
  try {
    content = brotliDecompressSync(readFileSync(join(IMAGES, stored)));
  } catch (error) {
    throw damaged(`images/${stored} cannot be read`, error);
  }
  if (createHash("sha256").update(content).digest("hex") !== sha256) {
    throw damaged(`images/${stored} does not match its checksum`);
  }
  // Another tsvm may be doing the same: each writes its own file, and the last rename wins with equal content.
  const temporary = `${unpacked}.${process.pid}`;
  try {
    mkdirSync(directory, { recursive: true });
    if (existsSync(temporary)) rmSync(temporary); // of an earlier process with our number
    writeSparse(temporary, content);
    renameSync(temporary, unpacked);
  } catch (error) {
    if (existsSync(temporary)) rmSync(temporary);
    throw new TsvmError("ERR_CACHE", `cannot write ${temporary}: ${(error as Error).message}`, {
      hint: "set XDG_CACHE_HOME to a directory that you can write to",
      cause: error,
    });
  }
}

/** Leaves out what is zero: a throw-away copy of a disk then copies only what is there. */
function writeSparse(path: string, content: Buffer): void {
  const fd = openSync(path, "wx", 0o644);
  try {
    for (let at = 0; at < content.length; at += SPARSE_BLOCK) {
      const block = content.subarray(at, at + SPARSE_BLOCK);
      if (!block.equals(ZEROES.subarray(0, block.length))) writeAll(fd, block, at);
    }
    ftruncateSync(fd, content.length);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length;) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}

function cacheDirectory(): string {
  const cache = process.env.XDG_CACHE_HOME;
  return join(cache !== undefined && cache.startsWith("/") ? cache : join(homedir(), ".cache"), "tsvm");
}

let manifest: Record<string, ManifestEntry> | undefined;

function readManifest(): Record<string, ManifestEntry> {
  if (manifest === undefined) {
    try {
      manifest = JSON.parse(readFileSync(join(IMAGES, "manifest.json"), "utf8")) as Record<
        string,
        ManifestEntry
      >;
    } catch (error) {
      throw damaged("images/manifest.json cannot be read", error);
    }
  }
  return manifest;
}

function damaged(message: string, cause?: unknown): TsvmError {
  return new TsvmError("ERR_BUNDLED_GUEST", `the bundled guest is incomplete: ${message}`, {
    hint: "reinstall tsvm, or rebuild the guest with scripts/build-kernel and scripts/build-rootfs",
    cause,
  });
}
