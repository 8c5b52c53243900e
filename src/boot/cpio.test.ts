import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { cpioArchive, type CpioEntry } from "./cpio.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

const entries: CpioEntry[] = [
  { type: "directory", path: "dev" },
  { type: "char-device", path: "dev/console", major: 5, minor: 1, mode: 0o600 },
  { type: "file", path: "init", mode: 0o755, content: utf8("#!/bin/sh\n") },
  { type: "file", path: "empty", content: new Uint8Array(0) },
  { type: "symlink", path: "linuxrc", target: "init" },
];

const hasCpio = ((): boolean => {
  try {
    execFileSync("cpio", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

describe("cpioArchive", () => {
  it("writes a newc header per entry", () => {
    const archive = cpioArchive([entries[2]!]);
    const header = new TextDecoder().decode(archive.subarray(0, 110));
    expect(header.slice(0, 6)).toBe("070701");
    expect(header.slice(6).match(/.{8}/g)).toEqual([
      "00000001",
      "000081ED",
      "00000000",
      "00000000",
      "00000001",
      "00000000",
      "0000000A",
      "00000000",
      "00000000",
      "00000000",
      "00000000",
      "00000005",
      "00000000",
    ]);
    expect(new TextDecoder().decode(archive.subarray(110, 115))).toBe("init\0");
    expect(new TextDecoder().decode(archive.subarray(116, 126))).toBe("#!/bin/sh\n");
  });

  it("aligns everything to 4 bytes and ends in a trailer", () => {
    const archive = cpioArchive(entries);
    expect(archive.length % 4).toBe(0);
    expect(new TextDecoder().decode(archive)).toContain("TRAILER!!!\0");
  });

  it("gives the same bytes each time", () => {
    expect(cpioArchive(entries)).toEqual(cpioArchive(structuredClone(entries)));
  });

  it.each(["", "/etc", "etc/", "a\0b", "TRAILER!!!"])("refuses the name %j", (path) => {
    expect(() => cpioArchive([{ type: "directory", path }])).toThrow(RangeError);
  });

  it("refuses device numbers that are none", () => {
    expect(() => cpioArchive([{ type: "char-device", path: "x", major: -1, minor: 0 }])).toThrow(RangeError);
  });

  it.skipIf(!hasCpio)("is read by cpio(1)", () => {
    const list = execFileSync("cpio", ["-tv", "--numeric-uid-gid"], {
      input: cpioArchive(entries),
      encoding: "utf8",
      stdio: ["pipe", "pipe", "ignore"],
    });
    const modes = list
      .trim()
      .split("\n")
      .map((line) => [line.slice(0, 10), line.split(/\s+/).at(-1)]);
    expect(modes).toEqual([
      ["drwxr-xr-x", "dev"],
      ["crw-------", "dev/console"],
      ["-rwxr-xr-x", "init"],
      ["-rw-r--r--", "empty"],
      ["lrwxrwxrwx", "init"],
    ]);
  });
});
