import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { DiskError } from "./errors.ts";
import { openDisk } from "./open.ts";
import { unprivileged } from "../ffi/testing/unprivileged.ts";

const directory = mkdtempSync(join(tmpdir(), "tsvm-open-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});
const at = (name: string): string => join(directory, name);
const openFds = (): number => readdirSync("/proc/self/fd").length;

const WRITABLE = { readOnly: false, ephemeral: false };
const READ_ONLY = { readOnly: true, ephemeral: false };
const EPHEMERAL = { readOnly: false, ephemeral: true };
const MODES = [WRITABLE, READ_ONLY, EPHEMERAL];

/** A file of 1 MiB with two islands of data in it. */
const SIZE = 1 << 20;
const sparse = (name: string): string => {
  const fd = openSync(at(name), "w+");
  writeSync(fd, Buffer.alloc(4096, "a"), 0, 4096, 128 * 1024);
  writeSync(fd, Buffer.alloc(5000, "b"), 0, 5000, 512 * 1024);
  closeSync(fd);
  truncateSync(at(name), SIZE);
  return at(name);
};

/** A loop device over `path`, or undefined where this host gives none. */
const attachLoop = (path: string): string | undefined => {
  try {
    return execFileSync("losetup", ["--find", "--show", path], { stdio: ["ignore", "pipe", "ignore"] })
      .toString()
      .trim();
  } catch {
    return undefined;
  }
};

describe("openDisk", () => {
  const refuse = (path: string, message: string | RegExp, hint?: string | RegExp): void => {
    const before = openFds();
    for (const mode of MODES) {
      let seen: unknown;
      try {
        openDisk(path, mode);
      } catch (error) {
        seen = error;
      }
      expect(seen).toBeInstanceOf(DiskError);
      const error = seen as DiskError;
      expect(error).toMatchObject({ code: "ERR_DISK", path });
      expect(error.message.startsWith(`disk ${path}: `)).toBe(true);
      expect(error.message).toMatch(message);
      if (hint === undefined) expect(error.hint).toBeUndefined();
      else expect(error.hint).toMatch(hint);
    }
    expect(openFds()).toBe(before);
  };

  it("says what is wrong with a path, and what to do", () => {
    refuse(at("missing"), /no such file$/);
    writeFileSync(at("file"), "x");
    refuse(join(at("file"), "below"), /no such file$/);
    refuse(directory, /is a directory, not an image$/);
    symlinkSync(at("nowhere"), at("dangling"));
    refuse(at("dangling"), /no such file$/);
    symlinkSync(at("circle"), at("circle"));
    refuse(at("circle"), /ELOOP/);
    refuse("/dev/null", /is neither a file nor a block device$/);
    refuse("", /no such file$/);
  });

  it("does not wait for the other end of a named pipe", () => {
    execFileSync("mkfifo", [at("fifo")]);
    refuse(at("fifo"), /is neither a file nor a block device$/);
  });

  it("says what is wrong with a size, and what to do", () => {
    writeFileSync(at("empty"), "");
    refuse(at("empty"), /is empty$/, /truncate -s 1G FILE/);
    for (const size of [1, 511, 513, 1000, 1_048_577]) {
      writeFileSync(at("odd"), Buffer.alloc(size));
      refuse(
        at("odd"),
        new RegExp(`its size of ${size} bytes is not a multiple of the 512-byte sector$`),
        /truncate -s %512 .*odd$/,
      );
    }
  });

  it("refuses formats that it does not know, and images that are damaged", () => {
    writeFileSync(at("image.vmdk"), Buffer.concat([Buffer.from("KDMV"), Buffer.alloc(64 * 1024)]));
    refuse(at("image.vmdk"), /VMDK/, /tsvm image convert/);
    const qcow2 = Buffer.alloc(64 * 1024);
    qcow2.write("QFI\xfb", "latin1");
    qcow2.writeUInt32BE(3, 4);
    writeFileSync(at("image.qcow2"), qcow2);
    refuse(
      at("image.qcow2"),
      /damaged qcow2 image: clusters of 2\^0 bytes/,
      /tsvm image check .*image.qcow2 tells more/,
    );
    writeFileSync(at("image.raw"), Buffer.alloc(64 * 1024));
    expect(() => openDisk(at("image.raw"), { ...READ_ONLY, format: "qcow2" })).toThrow(
      expect.objectContaining({
        message: expect.stringContaining("is no qcow2 image") as string,
        hint: "leave the format out, or give it as raw",
      }),
    );
  });

  it("takes a qcow2 image for a raw one where that is asked for, and says so", () => {
    writeFileSync(at("image.qcow2"), Buffer.concat([Buffer.from("QFI\xfb", "latin1"), Buffer.alloc(1020)]));
    const { fd, warnings } = openDisk(at("image.qcow2"), { ...READ_ONLY, format: "raw" });
    closeSync(fd);
    expect(warnings).toEqual([
      expect.stringMatching(/looks like a qcow2 disk image, and is taken for a raw image/),
    ]);
    writeFileSync(at("image.qcow2"), Buffer.concat([Buffer.from("QFI\xfb", "latin1"), Buffer.alloc(1000)]));
    expect(() => openDisk(at("image.qcow2"), { ...READ_ONLY, format: "raw" })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("leave the format out") as string }),
    );
  });

  it("says what to do about permissions", () => {
    chmodSync(directory, 0o755);
    writeFileSync(at("readable"), Buffer.alloc(512));
    chmodSync(at("readable"), 0o444);
    unprivileged(() => {
      expect(() => openDisk(at("readable"), WRITABLE)).toThrow(/does not let you write to it/);
      expect(() => openDisk(at("readable"), WRITABLE)).toThrow(
        expect.objectContaining({ hint: expect.stringContaining("--read-only") as string }),
      );
      closeSync(openDisk(at("readable"), READ_ONLY).fd);
      closeSync(openDisk(at("readable"), EPHEMERAL).fd);
    });
    chmodSync(at("readable"), 0);
    unprivileged(() => {
      expect(() => openDisk(at("readable"), READ_ONLY)).toThrow(/does not let you read it/);
    });
  });

  it("opens for what the guest may do", () => {
    writeFileSync(at("image"), Buffer.alloc(1024, "x"));
    const writable = openDisk(at("image"), WRITABLE);
    expect(writable.size).toBe(1024);
    writeSync(writable.fd, "y", 0);
    closeSync(writable.fd);
    const readOnly = openDisk(at("image"), READ_ONLY);
    expect(readOnly.size).toBe(1024);
    expect(() => writeSync(readOnly.fd, "z", 0)).toThrow(/EBADF/);
    closeSync(readOnly.fd);
    expect(readFileSync(at("image"), "latin1")).toBe(`y${"x".repeat(1023)}`);
  });

  it("opens read-only what is ephemeral and read-only: there is nothing to copy for", () => {
    const path = sparse("both");
    const { fd } = openDisk(path, { readOnly: true, ephemeral: true });
    expect(fstatSync(fd).ino).toBe(fstatSync(openSync(path, "r")).ino);
    closeSync(fd);
  });

  describe("an ephemeral disk", () => {
    it("has the content of the file, as sparse as that, and leaves the file alone", () => {
      const path = sparse("source");
      const before = readFileSync(path);
      const { fd, size } = openDisk(path, EPHEMERAL);
      expect(size).toBe(SIZE);
      const stat = fstatSync(fd);
      expect(stat.size).toBe(SIZE);
      expect(stat.blocks * 512).toBeLessThan(SIZE / 4);
      const copy = Buffer.alloc(SIZE);
      expect(readSync(fd, copy, 0, SIZE, 0)).toBe(SIZE);
      expect(copy.equals(before)).toBe(true);
      writeSync(fd, Buffer.alloc(SIZE, "w"), 0, SIZE, 0);
      closeSync(fd);
      expect(readFileSync(path).equals(before)).toBe(true);
    });

    it.each([
      ["all data", Buffer.alloc(64 * 1024, "d")],
      ["data at its end", Buffer.concat([Buffer.alloc(1 << 20), Buffer.alloc(512, "e")])],
    ])("copies a file that is %s", (_, content) => {
      writeFileSync(at("whole"), content);
      const { fd } = openDisk(at("whole"), EPHEMERAL);
      const copy = Buffer.alloc(content.length);
      readSync(fd, copy, 0, copy.length, 0);
      expect(copy.equals(content)).toBe(true);
      closeSync(fd);
    });

    it("copies a file that is one hole", () => {
      writeFileSync(at("hole"), "");
      truncateSync(at("hole"), 2 ** 40);
      const { fd, size } = openDisk(at("hole"), EPHEMERAL);
      expect(size).toBe(2 ** 40);
      expect(fstatSync(fd).blocks).toBe(0);
      closeSync(fd);
    });
  });

  it("takes block devices, and copies those that do not tell their holes (needs losetup, as root)", ({
    skip,
  }) => {
    const path = sparse("device");
    const device = attachLoop(path);
    if (device === undefined) return skip("no loop device to be had");
    try {
      const content = readFileSync(path);
      for (const mode of MODES) {
        const { fd, size } = openDisk(device, mode);
        expect(size).toBe(SIZE);
        const seen = Buffer.alloc(SIZE);
        readSync(fd, seen, 0, SIZE, 0);
        expect(seen.equals(content)).toBe(true);
        closeSync(fd);
      }
    } finally {
      execFileSync("losetup", ["--detach", device]);
    }
  });

  it("does not leave descriptors behind", () => {
    const path = sparse("count");
    const before = openFds();
    for (const mode of MODES) closeSync(openDisk(path, mode).fd);
    mkdirSync(at("directory"));
    expect(() => openDisk(at("directory"), WRITABLE)).toThrow(DiskError);
    expect(openFds()).toBe(before);
  });
});
