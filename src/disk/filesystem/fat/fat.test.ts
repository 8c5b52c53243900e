import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { suite, tool } from "../../../../test/support/needs.ts";
import { ImageReader } from "../../source/block-reader.ts";
import { FilesystemError } from "../errors.ts";
import type { FileSystem } from "../filesystem.ts";
import { resolvePath } from "../path.ts";
import { listDirectory, readFile } from "../read.ts";
import { blank, memorySource, run, workspace } from "../testing/images.ts";
import { noise } from "../testing/trees.ts";
import { isFat, openFat } from "./fat.ts";

// Other programs make the images.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

suite("FAT by mkfs.vfat and mtools", [tool("mkfs.vfat", "dosfstools"), tool("mcopy", "mtools")], () => {
  const work = workspace();
  afterAll(work.remove);
  const tree = work.path("tree");

  beforeAll(() => {
    const at = (...path: string[]): string => join(tree, ...path);
    mkdirSync(at("EFI/BOOT"), { recursive: true });
    mkdirSync(at("loader/entries"), { recursive: true });
    mkdirSync(at("many"));
    writeFileSync(at("EFI/BOOT/BOOTX64.EFI"), noise(300_001, 1));
    writeFileSync(at("empty"), "");
    writeFileSync(at("lower.txt"), "lower");
    writeFileSync(at("MiXeD case and a long name.conf"), "long");
    writeFileSync(at("ünïcode 名前.txt"), "unicode");
    writeFileSync(at(`${"n".repeat(251)}.txt`), "longest");
    writeFileSync(at("loader/entries/debian-6.1.0-13-amd64+3.conf"), "title Debian\n");
    for (let index = 0; index < 150; index++)
      writeFileSync(at("many", `file number ${index}.txt`), `${index}`);
  });

  const hostFiles = (directory: string, path = ""): [string, string][] =>
    readdirSync(join(directory, path)).flatMap((name): [string, string][] => {
      const full = join(path, name);
      if (statSync(join(directory, full)).isDirectory()) return hostFiles(directory, full);
      return [[`/${full}`, name]];
    });
  const ourFiles = (fs: FileSystem, path = "/"): string[] =>
    [...listDirectory(fs, path)].flatMap(({ name, type }) =>
      type === "directory" ? ourFiles(fs, join(path, name)) : [join(path, name)],
    );

  describe.each([
    ["FAT12", ["-F", "12"], 8],
    ["FAT12, clusters of one sector", ["-F", "12", "-s", "1", "-r", "1024"], 2],
    ["FAT16", ["-F", "16"], 32],
    ["FAT32", ["-F", "32"], 64],
    ["FAT32, clusters of one sector", ["-F", "32", "-s", "1"], 40],
    ["FAT32, sectors of 4096 bytes", ["-F", "32", "-S", "4096"], 300],
    ["one table only", ["-F", "16", "-f", "1"], 32],
  ] as const)("%s", (name, args, mebibytes) => {
    let path: string;
    beforeAll(() => {
      path = blank(work.path(name.replaceAll(/\W/g, "-")), mebibytes);
      run("mkfs.vfat", [...args, "-n", "ESP", "-i", "1234ABCD", path]);
      // -s: recursively; -Q: stop at errors.
      run("mcopy", [
        "-s",
        "-Q",
        "-m",
        "-i",
        path,
        ...readdirSync(tree).map((entry) => join(tree, entry)),
        "::",
      ]);
    });

    it("shows what mcopy put there", () => {
      const reader = work.reader(path);
      expect(isFat(reader)).toBe(true);
      const fs = openFat(reader);
      expect(fs).toMatchObject({ type: "vfat", label: "ESP", uuid: "1234-ABCD", warnings: [] });
      expect(ourFiles(fs).sort()).toEqual(
        hostFiles(tree)
          .map(([full]) => full)
          .sort(),
      );
      for (const [full] of hostFiles(tree)) {
        const content = Buffer.concat([...readFile(fs, full)]);
        const size = statSync(join(tree, full)).size;
        expect(content).toHaveLength(size);
        const number = /file number (\d+)/.exec(full)?.[1];
        if (number !== undefined) expect(content.toString()).toBe(number);
        else if (size > 0 && size < 1000) {
          expect(content.toString()).toBe(run("mtype", ["-i", path, `::${full}`]));
        }
      }
      expect(Buffer.concat([...readFile(fs, "/EFI/BOOT/BOOTX64.EFI")]).equals(noise(300_001, 1))).toBe(true);
    });

    it("finds names in any case, and short ones", () => {
      const fs = openFat(work.reader(path));
      expect(resolvePath(fs, "/efi/boot/bootx64.efi").size).toBe(300_001);
      expect(resolvePath(fs, "/mixed CASE and a long name.conf").size).toBe(4);
      expect(resolvePath(fs, "/LOADER/ENTRIES/DEBIAN~1.CON").size).toBe(13);
    });
  });

  it("times, read-only files, deleted ones", () => {
    const path = blank(work.path("times"), 8);
    run("mkfs.vfat", [path]);
    writeFileSync(work.path("a"), "a");
    run("mcopy", ["-i", path, work.path("a"), "::deleted by mtools"]);
    run("mcopy", ["-i", path, work.path("a"), "::kept"]);
    run("mdel", ["-i", path, "::deleted by mtools"]);
    run("mattrib", ["-i", path, "+r", "::kept"]);
    const list = [...listDirectory(openFat(work.reader(path)), "/")];
    expect(list).toMatchObject([{ name: "kept", type: "file", mode: 0o555, size: 1 }]);
    expect(Math.abs(list[0]!.mtime - Date.now() / 1000)).toBeLessThan(26 * 3600);
  });

  it("reads fragmented files", () => {
    const path = blank(work.path("fragmented"), 2);
    run("mkfs.vfat", ["-F", "12", "-s", "1", path]);
    writeFileSync(work.path("filler"), noise(2048, 3));
    writeFileSync(work.path("large"), noise(600_000, 4));
    const names = Array.from({ length: 220 }, (_, index) => `filler${index}`);
    for (const name of names) writeFileSync(work.path(name), noise(4000, 3));
    run("mcopy", ["-i", path, ...names.slice(0, 200).map((name) => work.path(name)), "::"]);
    run("mdel", [
      "-i",
      path,
      ...names
        .slice(0, 200)
        .filter((_, index) => index % 2 === 0)
        .map((name) => `::${name}`),
    ]);
    run("mcopy", ["-i", path, work.path("large"), "::large"]);
    const seen = Buffer.concat([...readFile(openFat(work.reader(path)), "/large")]);
    expect(seen.equals(noise(600_000, 4))).toBe(true);
  });

  describe("damage", () => {
    const make = (): Uint8Array => {
      const path = blank(work.path("damage"), 32);
      run("mkfs.vfat", ["-F", "16", path]);
      run("mcopy", ["-s", "-i", path, join(tree, "EFI"), "::"]);
      return work.source(path).read(0, 32 * 2 ** 20);
    };
    const open = (bytes: Uint8Array): FileSystem => openFat(new ImageReader("image", memorySource(bytes)));
    /** The table has 16 bits per cluster; clusters 2 and 3 are directories, the file follows. */
    const setNext = (bytes: Uint8Array, cluster: number, next: number): void => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const fat = view.getUint16(14, true) * 512;
      view.setUint16(fat + cluster * 2, next, true);
    };

    it("a directory that goes in a circle", () => {
      const bytes = make();
      setNext(bytes, 2, 2);
      // Full of entries, so that its end is never seen.
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const root = (view.getUint16(14, true) + 2 * view.getUint16(22, true)) * 512;
      const data = root + view.getUint16(17, true) * 32;
      const clusterSize = bytes[13]! * 512;
      for (let at = 64; at < clusterSize; at += 32) bytes.copyWithin(data + at, data + 64, data + 96);
      expect(() => resolvePath(open(bytes), "/EFI/NOTHING")).toThrow(FilesystemError);
      expect(() => resolvePath(open(bytes), "/EFI/NOTHING")).toThrow(/circle|no end/);
    });

    it.each([
      ["too short", 0xffff, /shorter than its size/],
      ["to a free cluster", 0, /leads to cluster 0/],
      ["to a bad cluster", 0xfff7, /leads to cluster 65527/],
    ])("a file with a chain that leads %s", (_, next, message) => {
      const bytes = make();
      setNext(bytes, 6, next);
      expect(() => [...readFile(open(bytes), "/EFI/BOOT/BOOTX64.EFI")]).toThrow(FilesystemError);
      expect(() => [...readFile(open(bytes), "/EFI/BOOT/BOOTX64.EFI")]).toThrow(message);
    });

    it("is not taken for FAT if its boot sector makes no sense", () => {
      for (const [offset, value] of [
        [11, 7],
        [13, 3],
        [16, 0],
        [21, 1],
        [511, 0],
      ] as const) {
        const bytes = make();
        bytes[offset] = value;
        expect(isFat(new ImageReader("image", memorySource(bytes)))).toBe(false);
      }
    });
  });
});
