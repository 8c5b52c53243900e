import {
  closeSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { identifyOpenFile } from "../../boot/file-kind.ts";
import type { BootFile } from "../../boot/read-at.ts";
import { buildBzImage } from "../../boot/testing/build-bzimage.ts";
import { MKE2FS, suite } from "../../../test/support/needs.ts";
import { DiskImage } from "../filesystem/disk-image.ts";
import { FilesystemError, ImagePathError } from "../filesystem/errors.ts";
import { blank, memorySource, run, workspace } from "../filesystem/testing/images.ts";
import { makeSparse, noise } from "../filesystem/testing/trees.ts";
import type { ImageFile } from "./boot-entry.ts";
import { extractFile, extractInitrds } from "./extract.ts";
import { findKernel } from "./find-kernel.ts";

// Other programs make the images.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

suite("files of an image", [MKE2FS], () => {
  const work = workspace();
  afterAll(work.remove);
  let image: DiskImage;
  const kernel = buildBzImage();

  beforeAll(() => {
    const boot = join(work.path("tree"), "boot");
    mkdirSync(boot, { recursive: true });
    writeFileSync(join(boot, "vmlinuz-6.1"), kernel);
    writeFileSync(join(boot, "initrd.img-6.1"), noise(100_001, 1));
    writeFileSync(join(boot, "second"), noise(50, 2));
    makeSparse(join(boot, "sparse"), 2 ** 28);
    makeSparse(join(boot, "huge"), 2 ** 31);
    const path = blank(work.path("image"), 8);
    run("mke2fs", ["-q", "-F", "-t", "ext4", "-d", work.path("tree"), path]);
    image = new DiskImage("disk.img", memorySource(readFileSync(path)));
  });
  const file = (name: string, size: number, offset = 0): ImageFile => ({
    partition: undefined,
    path: `/boot/${name}`,
    size,
    offset,
  });
  const content = ({ fd, size }: BootFile): Buffer => {
    const bytes = Buffer.alloc(size);
    readSync(fd, bytes, 0, size, 0);
    return bytes;
  };
  const openFds = (): number => readdirSync("/proc/self/fd").length;

  it("become files in memory", () => {
    const { entry } = findKernel(image);
    const extracted = extractFile(image, entry.kernel);
    expect(extracted).toMatchObject({ path: "disk.img:/boot/vmlinuz-6.1", size: kernel.length });
    expect(readlinkSync(`/proc/self/fd/${extracted.fd}`)).toBe("/memfd:disk.img:/boot/vmlinuz-6.1 (deleted)");
    expect(content(extracted).equals(kernel)).toBe(true);
    expect(identifyOpenFile(extracted).kind).toBe("bzImage");
    closeSync(extracted.fd);
  });

  it("become one, each at a multiple of four", () => {
    const extracted = extractInitrds(image, [file("initrd.img-6.1", 100_001), file("second", 50)])!;
    expect(extracted.path).toBe("disk.img:/boot/initrd.img-6.1 + disk.img:/boot/second");
    const expected = Buffer.concat([noise(100_001, 1), Buffer.alloc(3), noise(50, 2)]);
    expect(content(extracted).equals(expected)).toBe(true);
    closeSync(extracted.fd);
    expect(extractInitrds(image, [])).toBeUndefined();
  });

  it("may be a part of one", () => {
    const extracted = extractFile(image, file("initrd.img-6.1", 5000, 70_000));
    expect(content(extracted).equals(noise(100_001, 1).subarray(70_000, 75_000))).toBe(true);
    closeSync(extracted.fd);
  });

  it("keep their holes", () => {
    const extracted = extractFile(image, file("sparse", 2 ** 28));
    const tail = Buffer.alloc(3);
    readSync(extracted.fd, tail, 0, 3, 2 ** 28 - 3);
    expect(tail.toString()).toBe("end");
    const blocks = Number(run("stat", ["-L", "-c", "%b", `/proc/${process.pid}/fd/${extracted.fd}`]));
    expect(blocks * 512).toBeLessThan(2 ** 20);
    closeSync(extracted.fd);
  });

  describe("that cannot be had", () => {
    it.each([
      [
        "is missing",
        file("nothing", 10),
        ImagePathError,
        "disk.img:/boot/nothing: no such file or directory",
      ],
      ["is a directory", file(".", 10), ImagePathError, "is a directory"],
      ["is smaller than it was", file("second", 51), FilesystemError, "is smaller than it was"],
      ["is too large", file("huge", 2 ** 31), FilesystemError, "too large to be loaded"],
    ])("%s: an error, and no descriptor is left", (_, wanted, kind, message) => {
      const before = openFds();
      expect(() => extractFile(image, wanted)).toThrow(kind);
      expect(() => extractFile(image, wanted)).toThrow(message);
      expect(openFds()).toBe(before);
    });

    it("all initrds together are too large", () => {
      const sparse = file("sparse", 2 ** 28);
      expect(() => extractInitrds(image, [sparse, sparse, sparse, sparse, sparse])).toThrow(/too large/);
    });
  });
});
