import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { check, MKE2FS, suite, tool } from "../../../test/support/needs.ts";
import { DiskImage, describeContent } from "./disk-image.ts";
import { FilesystemError } from "./errors.ts";
import { readText } from "./read.ts";
import { blank, memorySource, run, workspace } from "./testing/images.ts";

// Other programs make the images.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const MIB = 2 ** 20;

/** What an image of one file system or the like is taken for. */
const contentOf = (bytes: Uint8Array): string => {
  const [whole] = new DiskImage("disk.img", memorySource(bytes)).volumes;
  return describeContent(whole!.content);
};

describe("what cannot be read", () => {
  const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1");
  it.each([
    ["encrypted (LUKS)", 0, latin1("LUKS\xba\xbe")],
    ["an LVM physical volume", 512, latin1("LABELONE")],
    ["a member of a Linux RAID array", 4096, Uint8Array.of(0xfc, 0x4e, 0x2b, 0xa9)],
    ["a member of a Linux RAID array", MIB - 16 * 512, Uint8Array.of(0xfc, 0x4e, 0x2b, 0xa9)],
    ["XFS", 0, latin1("XFSB")],
    ["Btrfs", 0x1_0040, latin1("_BHRfS_M")],
    ["a member of a ZFS pool", 128 * 1024 + 7 * 1024, Uint8Array.of(0x0c, 0xb1, 0xba, 0)],
    ["swap space", 4086, latin1("SWAPSPACE2")],
    ["NTFS", 3, latin1("NTFS    ")],
  ])("%s is called by its name", (description, offset, magic) => {
    const bytes = new Uint8Array(MIB);
    bytes.set(magic, offset);
    expect(contentOf(bytes)).toBe(`${description}, which tsvm cannot read`);
    expect(() => new DiskImage("disk.img", memorySource(bytes)).filesystem()).toThrow(
      `disk.img: cannot be read: ${description}, which tsvm cannot read`,
    );
  });

  it("nothing, and something unknown", () => {
    expect(contentOf(new Uint8Array(MIB))).toBe("empty");
    expect(contentOf(new Uint8Array(MIB).fill(7))).toBe("no known file system");
    expect(contentOf(new Uint8Array(0))).toBe("empty");
    expect(contentOf(new Uint8Array(100).fill(1))).toBe("no known file system");
  });

  const work = workspace();
  afterAll(work.remove);
  check("swap space by mkswap", [tool("mkswap", "util-linux")], () => {
    const path = blank(work.path("swap"), 1);
    run("mkswap", [path]);
    expect(contentOf(readFileSync(path))).toBe("swap space, which tsvm cannot read");
  });
  check("squashfs by mksquashfs", [tool("mksquashfs", "squashfs-tools")], () => {
    mkdirSync(work.path("empty"));
    run("mksquashfs", [work.path("empty"), work.path("squashfs"), "-quiet"]);
    expect(contentOf(readFileSync(work.path("squashfs")))).toBe(
      "a squashfs file system, which tsvm cannot read",
    );
  });
});

suite("an image with partitions", [MKE2FS, tool("sfdisk", "fdisk"), tool("mkfs.vfat", "dosfstools")], () => {
  const work = workspace();
  afterAll(work.remove);
  let bytes: Uint8Array;

  beforeAll(() => {
    mkdirSync(work.path("tree"));
    writeFileSync(join(work.path("tree"), "name"), "root");
    const ext4 = blank(work.path("ext4"), 4);
    run("mke2fs", ["-q", "-F", "-t", "ext4", "-L", "root", "-d", work.path("tree"), ext4]);
    const fat = blank(work.path("fat"), 2);
    run("mkfs.vfat", ["-n", "ESP", fat]);
    const disk = blank(work.path("disk"), 16);
    run(
      "sfdisk",
      ["-q", disk],
      "label: gpt\nstart=1MiB,size=2MiB,type=U\nstart=4MiB,size=4MiB\nstart=9MiB,size=2MiB\n",
    );
    bytes = new Uint8Array(readFileSync(disk));
    bytes.set(readFileSync(fat), MIB);
    bytes.set(readFileSync(ext4), 4 * MIB);
  });
  const image = (): DiskImage => new DiskImage("disk.img", memorySource(bytes));

  it("has a volume for each", () => {
    expect(image().volumes.map(({ name, content }) => `${name}: ${describeContent(content)}`)).toEqual([
      'disk.img:1: vfat, label "ESP"',
      'disk.img:2: ext4, label "root"',
      "disk.img:3: empty",
    ]);
  });

  it("reads the one that is asked for", () => {
    expect(readText(image().filesystem(2), "/name", 100)).toBe("root");
    expect(() => readText(image().filesystem(2), "/nothing", 100)).toThrow(
      "disk.img:2:/nothing: no such file or directory",
    );
    expect(() => readText(image().filesystem(2), "/", 100)).toThrow("disk.img:2:/: is a directory");
  });

  it("wants to know which", () => {
    const hint =
      'say which: disk.img:NUMBER. There are 1 (vfat, label "ESP"), 2 (ext4, label "root"), 3 (empty)';
    const error = (message: string): unknown => expect.objectContaining({ message, hint });
    expect(() => image().volume()).toThrow(error("disk.img: has several partitions: which one?"));
    expect(() => image().volume(4)).toThrow(error("disk.img: there is no partition 4"));
    expect(() => image().filesystem(3)).toThrow(FilesystemError);
  });

  it("takes the only readable one", () => {
    const copy = bytes.slice().fill(0, MIB, 3 * MIB);
    const disk = new DiskImage("disk.img", memorySource(copy));
    expect(disk.volume().partition?.number).toBe(2);
  });

  it("reads only what it is asked for", () => {
    let read = 0;
    const source = {
      size: 2 ** 43,
      read: (at: number, length: number) => ((read += length), bytes.slice(at, at + length)),
    };
    const disk = new DiskImage("disk.img", source);
    expect(readText(disk.filesystem(2), "/name", 100)).toBe("root");
    expect(read).toBeLessThan(512 * 1024);
  });
});
