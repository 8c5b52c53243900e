import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { DEBUGFS, E2FSCK, findTool, MKE2FS, suite } from "../../../../test/support/needs.ts";
import { ImageReader } from "../../source/block-reader.ts";
import { FilesystemError } from "../errors.ts";
import { lookupPath, resolvePath } from "../path.ts";
import { listDirectory, readFile, readRange } from "../read.ts";
import { blank, debugfs, memorySource, run, workspace } from "../testing/images.ts";
import { describeHost, describeNode, makeTree, noise } from "../testing/trees.ts";
import { isExt, openExt4 } from "./ext4.ts";

// Other programs make the images.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

suite("ext2, ext3 and ext4 by mke2fs", [MKE2FS, E2FSCK, DEBUGFS], () => {
  const work = workspace();
  afterAll(work.remove);
  const tree = work.path("tree");
  let expected: string[];

  beforeAll(() => {
    makeTree(tree, 800);
    expected = describeHost(tree);
  });

  /** Formats, with the tree in it. */
  const make = (name: string, args: readonly string[], mebibytes = 96): string => {
    const path = blank(work.path(name), mebibytes);
    run("mke2fs", ["-q", "-F", "-N", "8192", ...args, "-d", tree, path]);
    return path;
  };

  describe.each([
    ["ext2", ["-t", "ext2"], "ext2"],
    ["ext2, 1 KiB blocks", ["-t", "ext2", "-b", "1024"], "ext2"],
    ["ext2, inodes of 128 bytes", ["-t", "ext2", "-I", "128"], "ext2"],
    ["ext2, revision 0", ["-t", "ext2", "-r", "0", "-b", "4096"], "ext2"],
    ["ext3", ["-t", "ext3"], "ext3"],
    ["ext3, 2 KiB blocks", ["-t", "ext3", "-b", "2048"], "ext3"],
    ["ext4", ["-t", "ext4"], "ext4"],
    ["ext4, 1 KiB blocks", ["-t", "ext4", "-b", "1024"], "ext4"],
    ["ext4, 2 KiB blocks", ["-t", "ext4", "-b", "2048"], "ext4"],
    ["ext4, 64 KiB blocks", ["-t", "ext4", "-b", "65536"], "ext4"],
    ["ext4 without 64bit", ["-t", "ext4", "-O", "^64bit"], "ext4"],
    ["ext4 without extents", ["-t", "ext4", "-O", "^extent,^64bit,^flex_bg"], "ext3"],
    ["ext4 without checksums", ["-t", "ext4", "-O", "^metadata_csum"], "ext4"],
    ["ext4 with checksums of descriptors", ["-t", "ext4", "-O", "^metadata_csum,uninit_bg"], "ext4"],
    ["ext4 without journal", ["-t", "ext4", "-O", "^has_journal"], "ext4"],
    ["ext4 with inline data", ["-t", "ext4", "-O", "inline_data"], "ext4"],
    ["ext4 with inline data, inodes of 1 KiB", ["-t", "ext4", "-O", "inline_data", "-I", "1024"], "ext4"],
    ["ext4 with inodes of 128 bytes", ["-t", "ext4", "-I", "128"], "ext4"],
    ["ext4 with bigalloc", ["-t", "ext4", "-O", "bigalloc", "-C", "16384"], "ext4"],
    ["ext4 with meta_bg", ["-t", "ext4", "-O", "meta_bg,^resize_inode", "-b", "1024"], "ext4"],
    [
      "ext4 with meta_bg, no sparse_super",
      ["-t", "ext4", "-O", "meta_bg,^resize_inode,^sparse_super", "-b", "1024"],
      "ext4",
    ],
    [
      "ext4 with mmp, casefold, fast_commit, large_dir, ea_inode",
      ["-t", "ext4", "-O", "mmp,casefold,fast_commit,large_dir,ea_inode"],
      "ext4",
    ],
    ["ext4 with metadata_csum_seed", ["-t", "ext4", "-O", "metadata_csum_seed"], "ext4"],
    ["ext4 with small groups", ["-t", "ext4", "-b", "1024", "-g", "1024", "-O", "^resize_inode"], "ext4"],
  ] as const)("%s", (name, args, type) => {
    let path: string;
    beforeAll(() => {
      path = make(name.replaceAll(/\W/g, "-"), [...args, "-L", "my-root"]);
    });

    it("shows the whole tree as it is", () => {
      const reader = work.reader(path);
      expect(isExt(reader)).toBe(true);
      const fs = openExt4(reader);
      expect(fs).toMatchObject({ type, label: "my-root", warnings: [] });
      expect(fs.uuid).toBe(/UUID:\s*(\S+)/.exec(run("debugfs", ["-R", "stats -h", path]))![1]);
      // Inodes of 128 bytes know no time before 1901 or after 2038; none is in the tree.
      expect(describeNode(fs.root)).toEqual(expected);
    }, 60_000);

    it("shows hashed directories too", () => {
      // -D makes indexes; its status 1 says that it changed something.
      try {
        run("e2fsck", ["-fyD", path]);
      } catch (error) {
        expect((error as { status: number }).status).toBe(1);
      }
      expect(describeNode(openExt4(work.reader(path)).root)).toEqual(expected);
    }, 60_000);
  });

  describe("paths", () => {
    let image: string;
    beforeAll(() => {
      image = make("paths", ["-t", "ext4"]);
    });
    const fs = (): ReturnType<typeof openExt4> => openExt4(work.reader(image));

    it.each([
      ["/boot/vmlinuz-6.1", 3_000_001],
      ["boot/vmlinuz-6.1", 3_000_001],
      ["//boot/./../boot//vmlinuz-6.1", 3_000_001],
      ["/../../boot/vmlinuz-6.1", 3_000_001],
      ["/absolute", 3_000_001],
      ["/links/relative", 3_000_001],
      ["/to-directory/relative", 3_000_001],
      ["/to-directory/../size-60", 60],
    ])("%s", (path, size) => {
      expect(resolvePath(fs(), path)).toMatchObject({ type: "file", size });
    });

    it.each([
      ["/nothing", "no such file or directory"],
      ["/boot/nothing/more", "no such file or directory"],
      ["/size-60/more", "not a directory"],
      ["/size-60/", "not a directory"],
      ["/circle", "too many symbolic links"],
      ["/links/to-200", "no such file or directory"],
    ])("%s: an error", (path, message) => {
      expect(() => resolvePath(fs(), path)).toThrow(`${image}:${path}: ${message}`);
      expect(lookupPath(fs(), path)).toBeUndefined();
    });

    it("stays at a link if told so", () => {
      expect(resolvePath(fs(), "/circle", { follow: false })).toMatchObject({ type: "symlink" });
      expect(resolvePath(fs(), "/to-directory", { follow: false }).type).toBe("symlink");
      expect(resolvePath(fs(), "/to-directory/", { follow: false }).type).toBe("directory");
    });

    it("reads in parts", () => {
      const node = resolvePath(fs(), "/boot/vmlinuz-6.1");
      const whole = noise(3_000_001, 1);
      for (const [offset, length] of [
        [0, 1],
        [4095, 2],
        [1_000_000, 500_000],
        [3_000_000, 100],
        [3_000_001, 5],
      ] as const) {
        expect(Buffer.compare(readRange(node, offset, length), whole.subarray(offset, offset + length))).toBe(
          0,
        );
      }
      const chunks = [...readFile(fs(), "/absolute")];
      expect(Buffer.concat(chunks).equals(whole)).toBe(true);
      expect(Math.max(...chunks.map((chunk) => chunk.length))).toBeLessThanOrEqual(2 ** 20);
    });

    it("lists like ls", () => {
      const list = [...listDirectory(fs(), "/links")];
      expect(list.find(({ name }) => name === "relative")).toMatchObject({
        type: "symlink",
        target: "../boot/vmlinuz-6.1",
        size: 19,
        mode: 0o777,
      });
      expect([...listDirectory(fs(), "/size-60")]).toMatchObject([
        { name: "/size-60", type: "file", size: 60 },
      ]);
      expect([...listDirectory(fs(), "/empty")]).toMatchObject([{ links: 2 }]);
    });
  });

  it("reads a 5 GiB sparse file whole, holes as zeros, and few bytes of the image", () => {
    const source = work.source(make("sparse", ["-t", "ext4"]));
    let read = 0;
    const counting = {
      size: source.size,
      read: (at: number, length: number) => ((read += length), source.read(at, length)),
    };
    const fs = openExt4(new ImageReader("sparse", counting));
    let length = 0;
    let nonZero = "";
    const zeros = Buffer.alloc(2 ** 20);
    for (const chunk of readFile(fs, "/sparse")) {
      length += chunk.length;
      if (Buffer.compare(chunk, zeros.subarray(0, chunk.length)) !== 0) {
        nonZero += Buffer.from(chunk.filter((byte) => byte !== 0)).toString();
      }
    }
    expect(length).toBe(5 * 2 ** 30);
    expect(nonZero).toBe("middleend");
    expect(read).toBeLessThan(2 ** 20);
  }, 60_000);

  it("reads a hashed directory of 12000 entries", () => {
    const crowd = work.path("crowd");
    mkdirSync(crowd);
    const names = Array.from({ length: 12_000 }, (_, index) => `${index}-${"n".repeat(index % 120)}`);
    for (const name of names) writeFileSync(join(crowd, name), "");
    const image = blank(work.path("crowd.img"), 64);
    run("mke2fs", ["-q", "-F", "-t", "ext4", "-b", "1024", "-N", "16384", "-d", crowd, image]);
    expect(spawnSync(findTool("e2fsck")!, ["-fyD", image]).status).toBeLessThanOrEqual(1);
    expect(run("debugfs", ["-R", "htree_dump /", image])).toContain("Indirect levels: 1");
    const fs = openExt4(work.reader(image));
    const seen = [...listDirectory(fs, "/")].map(({ name }) => name).filter((name) => name !== "lost+found");
    expect(seen.sort()).toEqual(names.sort());
    expect(resolvePath(fs, `/${names[11_999]!}`).size).toBe(0);
  });

  it.each([
    ["extents", ["-t", "ext4"]],
    ["a block map", ["-t", "ext2"]],
  ] as const)(
    "reads a file in hundreds of fragments, of %s",
    (_, args) => {
      const image = blank(work.path("fragmented"), 11);
      run("mke2fs", ["-q", "-F", "-b", "1024", "-N", "2048", ...args, image]);
      const filler = work.path("filler");
      writeFileSync(filler, noise(6 * 1024, 7));
      // Fill up, free every other file, and let the large one have the gaps.
      const names = Array.from({ length: 1500 }, (_unused, index) => `f${index}`);
      debugfs(
        image,
        ...names.map((name) => `write ${filler} ${name}`),
        ...names.filter((_unused, index) => index % 2 === 0).map((name) => `rm ${name}`),
      );
      const content = work.path("content");
      writeFileSync(content, noise(3_500_000, 9));
      debugfs(image, `write ${content} large`, "rm f1");
      const extents = run("debugfs", ["-R", "stat large", image]);
      expect(extents.split(",").length).toBeGreaterThan(200);
      const seen = Buffer.concat([...readFile(openExt4(work.reader(image)), "/large")]);
      expect(seen.equals(noise(3_500_000, 9))).toBe(true);
    },
    60_000,
  );

  it("shows devices, FIFOs, owners, times beyond 2038 and special bits", () => {
    const image = make("nodes", ["-t", "ext4"]);
    debugfs(
      image,
      "mknod tty c 4 64",
      "mknod big b 1 1",
      "sif big block[0] 0",
      `sif big block[1] ${(70_000 & 0xff) | (300 << 8) | ((70_000 >> 8) << 20)}`,
      "mknod fifo p",
      "sif size-60 uid 100000",
      "sif size-60 gid 70000",
      "sif size-60 mode 0104755",
      "sif size-61 mtime 22000101000000",
    );
    const fs = openExt4(work.reader(image));
    expect(resolvePath(fs, "/tty")).toMatchObject({ type: "char-device", device: { major: 4, minor: 64 } });
    expect(resolvePath(fs, "/big")).toMatchObject({
      type: "block-device",
      device: { major: 300, minor: 70000 },
    });
    expect(resolvePath(fs, "/fifo")).toMatchObject({ type: "fifo", device: undefined });
    expect(resolvePath(fs, "/size-60")).toMatchObject({ uid: 100_000, gid: 70_000, mode: 0o4755 });
    expect(resolvePath(fs, "/size-61").mtime).toBe(Date.UTC(2200, 0, 1) / 1000);
  });

  describe("damage", () => {
    let image: string;
    beforeAll(() => {
      image = make("good", ["-t", "ext4", "-b", "4096"]);
    });
    const damaged = (...commands: string[]): ReturnType<typeof openExt4> => {
      const copy = work.path("damaged");
      copyFileSync(image, copy);
      debugfs(copy, ...commands);
      return openExt4(work.reader(copy));
    };
    /** An image with one byte flipped. */
    const flipped = (offset: number): (() => ReturnType<typeof openExt4>) => {
      const bytes = work.source(image).read(0, 96 * 2 ** 20);
      bytes[offset]! ^= 1;
      return () => openExt4(new ImageReader("image", memorySource(bytes)));
    };
    const inodeOffset = (path: string): number => {
      const text = run("debugfs", ["-R", `imap ${path}`, image]);
      const [, block, offset] = /located at block (\d+), offset (0x[0-9a-f]+)/.exec(text)!;
      return Number(block) * 4096 + Number(offset);
    };
    const firstBlock = (path: string): number =>
      Number(
        run("debugfs", ["-R", `blocks ${path}`, image])
          .trim()
          .split(" ")[0],
      ) * 4096;

    it("in the superblock is found by its checksum", () => {
      expect(flipped(1024 + 0x78)).toThrow(FilesystemError);
      expect(flipped(1024 + 0x78)).toThrow("damaged ext4 superblock: wrong checksum");
    });

    it("in a group descriptor is found by its checksum", () => {
      expect(flipped(4096 + 4)).toThrow("the descriptor of block group 0 has a wrong checksum");
    });

    it("in an inode is found by its checksum", () => {
      const fs = flipped(inodeOffset("/size-60") + 4)();
      expect(() => resolvePath(fs, "/size-60")).toThrow(/inode \d+ has a wrong checksum/);
      expect(resolvePath(fs, "/size-61").size).toBe(61);
    });

    it("in a directory is found by its checksum", () => {
      const fs = flipped(firstBlock("/boot") + 100)();
      expect(() => resolvePath(fs, "/boot/vmlinuz-6.1")).toThrow(
        /directory \(inode \d+\): block 0 has a wrong checksum/,
      );
    });

    it("in content cannot be found: there is no checksum", () => {
      const fs = flipped(firstBlock("/size-60"))();
      expect(Buffer.concat([...readFile(fs, "/size-60")])).toHaveLength(60);
    });

    it.each([
      ["a file beyond the disk", "sif size-1025 block[5] 0x0f000000", "/size-1025", /refers to block/],
      ["an extent tree without magic", "sif size-1025 block[0] 0", "/size-1025", /no magic number/],
      ["a symbolic link without end", "sif absolute size 100000", "/absolute", /impossible length/],
      ["an inode that was deleted", "sif size-60 links_count 0", "/size-60", /not in use/],
      ["an inode of no type", "sif size-60 mode 0", "/size-60", /not in use/],
      ["a directory of impossible size", "sif boot size 0x7fffffff000", "/boot/vmlinuz-6.1", /beyond reason/],
      ["an encrypted file", "sif size-1025 flags 0x80800", "/size-1025", /encrypted/],
    ])("%s", (_, command, path, message) => {
      const fs = damaged(command);
      expect(() => [...readFile(fs, path)]).toThrow(FilesystemError);
      expect(() => [...readFile(fs, path)]).toThrow(message);
    });

    it("features of the future are named", () => {
      expect(() => damaged("ssv feature_incompat 0x80000242")).toThrow(
        /features that tsvm cannot read: 0x80000000/,
      );
    });

    it("an image that was cut off is read as far as it goes", () => {
      const path = join(work.directory, "good");
      const source = work.source(path);
      const half = { size: source.size / 2, read: source.read.bind(source) };
      const fs = openExt4(new ImageReader("half", half));
      expect(fs.warnings[0]).toContain("the file system is larger");
      expect(() => [...readFile(fs, "/boot/vmlinuz-6.1")]).not.toThrow(TypeError);
    });
  });
});
