import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, it, vi } from "vitest";
import { findQemuImg, findSetpriv, QemuImgMissingError } from "./tool.ts";

const directory = mkdtempSync(join(tmpdir(), "tsvm-path-"));
const program = (name: string): string => {
  const path = join(directory, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, "");
  chmodSync(path, 0o755);
  return path;
};
const search = (...directories: string[]): void => {
  vi.stubEnv("PATH", directories.map((one) => (one.startsWith(".") ? one : join(directory, one))).join(":"));
};
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(directory, { recursive: true }));

it("qemu-img is the first in PATH that can be run", () => {
  mkdirSync(join(directory, "a/qemu-img"), { recursive: true });
  chmodSync(program("b/qemu-img"), 0o644);
  const found = program("c/qemu-img");
  program("d/qemu-img");
  search("a", "b", "c", "d");
  expect(findQemuImg()).toBe(found);
});

it("without it, the error says what to install", () => {
  for (const path of ["", ":", ".", "/nonexistent"]) {
    vi.stubEnv("PATH", path);
    expect(findQemuImg).toThrow(QemuImgMissingError);
  }
  expect(new QemuImgMissingError()).toMatchObject({ code: "ERR_QEMU_IMG_MISSING" });
  expect(new QemuImgMissingError().hint).toContain("sudo apt-get install qemu-utils");
});

it("the setpriv of busybox is none", () => {
  const busybox = program("busybox/busybox");
  symlinkSync(busybox, join(directory, "busybox/setpriv"));
  search("busybox");
  expect(findSetpriv()).toBeUndefined();
  const real = program("util-linux/setpriv");
  search("util-linux");
  expect(findSetpriv()).toBe(real);
});
