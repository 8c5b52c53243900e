import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { QEMU_IO, suite } from "../../test/support/needs.ts";
import { DiskError } from "./errors.ts";
import { imageInfo } from "./info.ts";
import { openDisk, type OpenDisk, type OpenDiskOptions } from "./open.ts";
import { buildDisk } from "./plan.ts";
import { DiskAccess } from "./testing/disk-access.ts";
import { qemuCheck, qemuCompare, QEMU_IMG, qemuImg, qemuIo } from "./testing/qemu.ts";

const READ_ONLY = { readOnly: true, ephemeral: false };
const WRITABLE = { readOnly: false, ephemeral: false };
const M = 2 ** 20;

suite("chains of images", [QEMU_IMG, QEMU_IO], () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-chain-"));
  const at = (name: string): string => join(directory, name);
  const open: OpenDisk[] = [];
  const access = (path: string, options: OpenDiskOptions): DiskAccess => {
    const disk = openDisk(path, options);
    open.push(disk);
    return new DiskAccess(buildDisk(structuredClone(disk.plan)));
  };
  const closeAll = (): void => {
    for (const { fds } of open.splice(0)) for (const fd of fds) closeSync(fd);
  };
  afterEach(() => {
    closeAll();
    for (const name of readdirSync(directory)) rmSync(at(name), { recursive: true });
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });
  const refuse = (path: string, message: RegExp | string): DiskError => {
    const before = readdirSync("/proc/self/fd").length;
    let seen: unknown;
    try {
      openDisk(path, READ_ONLY);
    } catch (error) {
      seen = error;
    }
    expect(seen).toBeInstanceOf(DiskError);
    expect((seen as DiskError).message).toMatch(message);
    expect(readdirSync("/proc/self/fd").length).toBe(before);
    return seen as DiskError;
  };

  test("show what is above first, over several levels of several formats and sizes", () => {
    writeFileSync(at("base.raw"), Buffer.alloc(2 * M, 1));
    qemuImg("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", at("middle.qcow2"), "3M");
    qemuIo(at("middle.qcow2"), "qcow2", "write -P 2 1M 64k");
    mkdirSync(at("elsewhere"));
    qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "-o",
      "cluster_size=4k",
      "-b",
      "../middle.qcow2",
      "-F",
      "qcow2",
      at("elsewhere/top.qcow2"),
      "4M",
    );
    qemuIo(at("elsewhere/top.qcow2"), "qcow2", "write -P 3 1032k 4k", "write -z 0 4k");
    const disk = access(at("elsewhere/top.qcow2"), READ_ONLY);
    const content = disk.content();
    const byteAt = (offset: number): number => content[offset]!;
    expect([0, 4096, M, M + 8 * 1024, M + 12 * 1024, M + 65_536, 2 * M, 4 * M - 1].map(byteAt)).toEqual([
      0, 1, 2, 3, 2, 1, 0, 0,
    ]);
    writeFileSync(at("seen"), content);
    expect(qemuCompare(at("elsewhere/top.qcow2"), "qcow2", at("seen"), "raw")).toBeUndefined();
    expect(open[0]!.warnings).toEqual([]);
    expect(open[0]!.plan.layers.map(({ format }) => format)).toEqual(["qcow2", "qcow2", "raw"]);
  });

  test("are found from where the image is called by, as QEMU does", () => {
    mkdirSync(at("a"));
    mkdirSync(at("b"));
    writeFileSync(at("a/base"), Buffer.alloc(M, 1));
    writeFileSync(at("b/base"), Buffer.alloc(M, 2));
    qemuImg("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", at("a/top"));
    symlinkSync(at("a/top"), at("b/top"));
    expect(access(at("a/top"), READ_ONLY).read(0, 512)[0]).toBe(1);
    closeAll();
    expect(access(at("b/top"), READ_ONLY).read(0, 512)[0]).toBe(2);
  });

  test("warn where an image does not say what its backing file is", () => {
    writeFileSync(at("base"), Buffer.alloc(M, 1));
    qemuImg("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", at("top"));
    const image = readFileSync(at("top"));
    image.writeUInt32BE(0x1234_5678, image.indexOf(Buffer.from("e2792aca", "hex")));
    writeFileSync(at("top"), image);
    expect(access(at("top"), READ_ONLY).read(0, 512)[0]).toBe(1);
    expect(open[0]!.warnings).toEqual([
      expect.stringMatching(/top does not say in which format .*base is; it looks like raw/),
    ]);
  });

  test("take a format that is said for what it is, whatever the file looks like", () => {
    qemuImg("create", "-q", "-f", "qcow2", at("inner"), "1M");
    truncateSync(at("inner"), M);
    qemuImg("create", "-q", "-f", "qcow2", "-b", "inner", "-F", "raw", at("top"));
    expect(access(at("top"), READ_ONLY).read(0, 512).toString("latin1", 0, 4)).toBe("QFI\xfb");
    closeAll();
    expect(
      access(at("inner"), { ...READ_ONLY, format: "raw" })
        .read(0, 512)
        .toString("latin1", 0, 4),
    ).toBe("QFI\xfb");
  });

  test("are refused with what is wrong, and leave nothing open", () => {
    qemuImg("create", "-q", "-f", "qcow2", at("a"), "1M");
    const top = (backing: string, format: string): string => {
      rmSync(at("top"), { force: true });
      qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", backing, "-F", format, at("top"), "1M");
      return at("top");
    };
    const missing = refuse(top("nowhere", "raw"), /nowhere: no such file \(the backing file of .*top\)/);
    expect(missing.path).toBe(at("nowhere"));
    refuse(top("a", "vmdk"), /top: its backing file a is in format "vmdk"; tsvm knows raw and qcow2/);
    refuse(
      top("nbd://host:10809/disk", "raw"),
      /its backing file is nbd:.*; tsvm knows only files and block devices/,
    );
    refuse(
      top('json:{"driver":"raw","file":{"driver":"file","filename":"a"}}', "raw"),
      /its backing file is json:/,
    );
    expect(access(top("file:a", "qcow2"), READ_ONLY).read(0, 512)[0]).toBe(0);
    closeAll();
    refuse(top("top", "qcow2"), /top: its backing file .*top is .*top again/);
    qemuImg("rebase", "-u", "-b", "b", "-F", "qcow2", at("a"));
    qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", "a", "-F", "qcow2", at("b"), "1M");
    refuse(at("a"), /b: its backing file .*a is .*a again, which is above it/);
    refuse(top(".", "raw"), /is a directory, not an image \(the backing file of/);
    writeFileSync(at("empty"), "");
    refuse(top("empty", "raw"), /empty: is empty/);
    writeFileSync(at("junk"), "not an image");
    refuse(top("junk", "qcow2"), /junk: is no qcow2 image, as .*top says that it is/);
  });

  test("info shows what there is above a backing file that is missing", () => {
    qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", "gone", "-F", "raw", at("middle"), "1M");
    qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", "middle", "-F", "qcow2", at("upper"), "2M");
    const { image } = imageInfo(at("upper"));
    expect(image).toMatchObject({ virtualSize: 2 * 2 ** 20, backingProblem: undefined });
    expect(image.backing).toMatchObject({
      path: at("middle"),
      virtualSize: 2 ** 20,
      backing: undefined,
      backingProblem: `disk ${at("gone")}: no such file (the backing file of ${at("middle")})`,
    });
    expect(() => imageInfo(at("gone"))).toThrow("no such file");
  });

  test("are not endless", () => {
    let previous = "level0";
    qemuImg("create", "-q", "-f", "qcow2", at(previous), "1M");
    const head = at("level0");
    for (let level = 1; level <= 64; level++) {
      qemuImg("create", "-q", "-f", "qcow2", "-u", "-b", previous, "-F", "qcow2", at(`level${level}`), "1M");
      previous = `level${level}`;
    }
    refuse(at("level64"), /has more than 64 backing files/);
    expect(access(at("level63"), READ_ONLY).read(0, 512)[0]).toBe(0);
    closeAll();
    renameSync(head, at("gone"));
    refuse(at("level63"), /level0: no such file \(the backing file of .*level1\)/);
  });

  test("are locked: what is below against writers, what is above against everybody", () => {
    qemuImg("create", "-q", "-f", "qcow2", at("base"), "1M");
    for (const name of ["one", "two"])
      qemuImg("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", at(name));
    access(at("one"), WRITABLE).write(0, Buffer.alloc(512, 1));
    access(at("two"), WRITABLE).write(0, Buffer.alloc(512, 2));
    expect(() => qemuIo(at("base"), "qcow2", "write 0 512")).toThrow(/lock/);
    expect(() => openDisk(at("base"), WRITABLE)).toThrow(/in use by another program/);
    expect(() => openDisk(at("one"), READ_ONLY)).toThrow(/in use by another program/);
  });

  test("can be written to and thrown away", () => {
    qemuImg("create", "-q", "-f", "qcow2", at("disk.qcow2"), "3M");
    qemuIo(at("disk.qcow2"), "qcow2", "write -P 1 0 1M");
    writeFileSync(at("disk.raw"), Buffer.alloc(3 * M, 1));
    for (const [name, options] of [
      ["disk.qcow2", { readOnly: false, ephemeral: true }],
      ["disk.qcow2", { readOnly: false, ephemeral: false, overlay: true }],
      ["disk.raw", { readOnly: false, ephemeral: false, overlay: true }],
    ] as [string, OpenDiskOptions][]) {
      const disk = access(at(name), options);
      disk.write(1024, Buffer.alloc(4096, 7));
      disk.discard(0, 65_536 * 2);
      disk.writeZeroes(512 * 1024, 65_536, true);
      disk.flush();
      const content = disk.content();
      expect([0, 200_000, 512 * 1024, 600_000].map((offset) => content[offset])).toEqual([0, 1, 0, 1]);
      const other = access(at(name), { readOnly: true, ephemeral: false });
      expect(other.read(1024, 512).every((byte) => byte === 1)).toBe(true);
      closeAll();
    }
    expect(qemuCheck(at("disk.qcow2")).errors).toBe(0);
    expect(
      access(at("disk.qcow2"), READ_ONLY)
        .content()
        .subarray(0, M)
        .every((byte) => byte === 1),
    ).toBe(true);
  });

  test("a raw disk that was taken for one by its looks cannot be made a qcow2 image by the guest", () => {
    writeFileSync(at("disk"), Buffer.alloc(M, 0));
    const header = Buffer.alloc(1024);
    header.write("QFI\xfb", "latin1");
    const probed = access(at("disk"), WRITABLE);
    expect(probed.tryWrite(0, header)).toBe(1);
    expect(probed.read(0, 1024).every((byte) => byte === 0)).toBe(true);
    probed.write(0, Buffer.alloc(4096, 3));
    probed.write(512, header);
    expect(
      probed
        .read(0, 4096)
        .subarray(1536)
        .every((byte) => byte === 3),
    ).toBe(true);
    closeAll();
    access(at("disk"), { ...WRITABLE, format: "raw" }).write(0, header);
  });
});
