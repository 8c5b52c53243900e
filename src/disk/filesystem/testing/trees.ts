/** Directory trees for file systems to hold, and their comparison with what a reader sees. */
import { createHash, type Hash } from "node:crypto";
import {
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { FileNode } from "../filesystem.ts";

/** Deterministic bytes that look random. */
export function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed | 1;
  for (let index = 0; index < length; index++) {
    state = Math.imul(state, 1_103_515_245) + 12_345;
    bytes[index] = state >>> 16;
  }
  return bytes;
}

/** A tree with all that is odd but legal. @param crowd Files in its largest directory. */
export function makeTree(directory: string, crowd: number): void {
  const at = (...path: string[]): string => join(directory, ...path);
  mkdirSync(at("boot"), { recursive: true });
  writeFileSync(at("boot/vmlinuz-6.1"), noise(3_000_001, 1));
  writeFileSync(at("empty"), "");
  // Around what fits into an inode of 128 or 256 bytes.
  for (const size of [1, 59, 60, 61, 90, 130, 140, 160, 200, 1023, 1024, 1025, 4096, 4097]) {
    writeFileSync(at(`size-${size}`), noise(size, size));
  }
  // Each level of a block map, with blocks of 1 KiB: 12, 12 + 256, 12 + 256 + 65536.
  writeFileSync(at("doubly-indirect"), noise(400_000, 2));
  mkdirSync(at("links"));
  for (const length of [1, 59, 60, 61, 200, 1000])
    symlinkSync("x".repeat(length), at("links", `to-${length}`));
  symlinkSync("../boot/vmlinuz-6.1", at("links/relative"));
  symlinkSync("/boot/vmlinuz-6.1", at("absolute"));
  symlinkSync("links", at("to-directory"));
  symlinkSync("circle", at("circle"));
  mkdirSync(at("small"));
  writeFileSync(at("small/one"), "1");
  mkdirSync(at("deep", ...Array.from({ length: 40 }, (_, level) => `level-${level}`)), { recursive: true });
  mkdirSync(at("names"));
  writeFileSync(at("names", "L".repeat(255)), "long");
  writeFileSync(at("names", "ünïcode 名前"), "unicode");
  writeFileSync(at("names", "with space\nand newline"), "odd");
  linkSync(at("empty"), at("names/hard-link"));
  mkdirSync(at("crowd"));
  for (let index = 0; index < crowd; index++) {
    writeFileSync(
      at("crowd", `file-${index}-${"n".repeat(index % 100)}`),
      index % 50 === 0 ? `${index}` : "",
    );
  }
  makeSparse(at("sparse"), 5 * 2 ** 30);
  utimesSync(at("size-1"), 1_000_000_000, 1_000_000_000);
  // Before 1970, and after 2038, where the inode has room for it.
  utimesSync(at("size-59"), -86_400, -86_400);
}

/** A large file with data in two places: in the middle and at its end. */
export function makeSparse(path: string, size: number): void {
  const fd = openSync(path, "w");
  ftruncateSync(fd, size);
  writeSync(fd, "middle", Math.floor(size / 2) + 123);
  writeSync(fd, "end", size - 3);
  closeSync(fd);
}

/** One line per file, sorted: what a reader must see to have read it all. */
export function describeHost(directory: string, path = "/"): string[] {
  const lines: string[] = [];
  for (const name of readdirSync(join(directory, path))) {
    if (name === "lost+found") continue;
    const full = join(path, name);
    const stat = lstatSync(join(directory, full));
    const common = `${full} mode ${(stat.mode & 0o7777).toString(8)} mtime ${Math.floor(stat.mtimeMs / 1000)}`;
    if (stat.isDirectory()) lines.push(`${common} directory`, ...describeHost(directory, full));
    else if (stat.isSymbolicLink()) lines.push(`${common} -> ${readlinkSync(join(directory, full))}`);
    else lines.push(`${common} size ${stat.size} ${hostDigest(join(directory, full), stat.size)}`);
  }
  return path === "/" ? lines.sort() : lines;
}

export function describeNode(directory: FileNode, path = "/"): string[] {
  const lines: string[] = [];
  for (const entry of directory.entries()) {
    if (entry.name === "lost+found") continue;
    const node = entry.node();
    const full = join(path, entry.name);
    const common = `${full} mode ${node.mode.toString(8)} mtime ${node.mtime}`;
    if (node.type === "directory") lines.push(`${common} directory`, ...describeNode(node, full));
    else if (node.type === "symlink") lines.push(`${common} -> ${node.target()}`);
    else lines.push(`${common} size ${node.size} ${nodeDigest(node)}`);
  }
  return path === "/" ? lines.sort() : lines;
}

/** Of the blocks that are not zero, with their places: holes and written zeros are the same. */
function digestPiece(hash: Hash, offset: number, bytes: Uint8Array): void {
  if (bytes.every((byte) => byte === 0)) return;
  hash.update(`${offset}:`).update(bytes);
}

const DIGEST_BLOCK = 1024;

function nodeDigest(node: FileNode): string {
  const hash = createHash("sha256");
  for (const { offset, bytes } of node.content()) {
    for (let at = 0; at < bytes.length; at += DIGEST_BLOCK) {
      digestPiece(hash, offset + at, bytes.subarray(at, at + DIGEST_BLOCK));
    }
  }
  return hash.digest("hex");
}

function hostDigest(path: string, size: number): string {
  const hash = createHash("sha256");
  // The one sparse file here is known; reading 5 GiB of zeros would take longer than all else.
  if (size > 2 ** 30) {
    const middle = Math.floor(size / 2) + 123;
    const block = Buffer.alloc(DIGEST_BLOCK);
    block.write("middle", middle % DIGEST_BLOCK);
    digestPiece(hash, middle - (middle % DIGEST_BLOCK), block);
    const last = Buffer.alloc(DIGEST_BLOCK);
    last.write("end", DIGEST_BLOCK - 3);
    digestPiece(hash, size - DIGEST_BLOCK, last);
    return hash.digest("hex");
  }
  const bytes = readFileSync(path);
  for (let at = 0; at < bytes.length; at += DIGEST_BLOCK) {
    digestPiece(hash, at, bytes.subarray(at, at + DIGEST_BLOCK));
  }
  return hash.digest("hex");
}
