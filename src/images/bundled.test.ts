import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { bundledFile } from "./bundled.ts";

const manifest = JSON.parse(
  readFileSync(new URL("../../images/manifest.json", import.meta.url), "utf8"),
) as Record<string, { sha256: string; size: number }>;
const before = process.env.XDG_CACHE_HOME;
let cache: string;

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), "tsvm-test-"));
  process.env.XDG_CACHE_HOME = cache;
});
afterEach(() => {
  rmSync(cache, { recursive: true });
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
});

it.each(["vmlinux", "rootfs.ext4", "init"] as const)("has %s as the manifest says", (name) => {
  const content = readFileSync(bundledFile(name));
  const entry = manifest[`${name}.br`] ?? manifest[name]!;
  expect(content.length).toBe(entry.size);
  expect(createHash("sha256").update(content).digest("hex")).toBe(entry.sha256);
});

it("unpacks once, leaves no temporary file, and keeps the holes of a disk", () => {
  const path = bundledFile("rootfs.ext4");
  const { ino, blocks, size } = statSync(path);
  expect(bundledFile("rootfs.ext4")).toBe(path);
  expect(statSync(path).ino).toBe(ino);
  expect(readdirSync(join(cache, "tsvm"))).toHaveLength(1);
  expect(blocks * 512).toBeLessThan(size / 4);
});

it("says what to do when the cache cannot be written", () => {
  const file = join(cache, "file");
  writeFileSync(file, "");
  process.env.XDG_CACHE_HOME = file;
  expect(() => bundledFile("vmlinux")).toThrow(
    expect.objectContaining({
      code: "ERR_CACHE",
      hint: "set XDG_CACHE_HOME to a directory that you can write to",
    }),
  );
});
