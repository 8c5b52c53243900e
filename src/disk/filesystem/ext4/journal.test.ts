import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it, vi } from "vitest";
import {
  DEBUGFS,
  E2FSCK,
  MKE2FS,
  MOUNT_NAMESPACE,
  check,
  findTool,
  suite,
  type Need,
} from "../../../../test/support/needs.ts";
import { ImageReader } from "../../source/block-reader.ts";
import { FilesystemError } from "../errors.ts";
import { readFile } from "../read.ts";
import { blank, debugfs, memorySource, run, workspace } from "../testing/images.ts";
import { describeNode, makeTree, noise } from "../testing/trees.ts";
import { openExt4 } from "./ext4.ts";
import { recover } from "./recover.ts";
import { readSuperblock } from "./superblock.ts";

// Other programs make the images.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const LOOP: Need = () => (existsSync("/dev/loop-control") ? MOUNT_NAMESPACE() : "loop devices");

suite("journals that need to be replayed", [MKE2FS, E2FSCK, DEBUGFS], () => {
  const work = workspace();
  afterAll(work.remove);
  const tree = work.path("tree");
  makeTree(tree, 50);

  const MEBIBYTES = 48;
  const make = (args: readonly string[]): string => {
    const path = blank(work.path("image"), MEBIBYTES);
    run("mke2fs", ["-q", "-F", "-b", "1024", "-t", "ext4", ...args, "-d", tree, path]);
    return path;
  };
  /** What e2fsck makes of a copy. */
  const replayed = (image: string): string => {
    const copy = work.path("replayed");
    copyFileSync(image, copy);
    const { status, stdout } = spawnSync(findTool("e2fsck")!, ["-y", "-E", "journal_only", copy], {
      encoding: "utf8",
    });
    if (status === null || status > 1) throw new Error(`e2fsck failed: ${stdout}`);
    return copy;
  };
  /** The blocks of an image as we see them. */
  const recovered = (image: string): { bytes: Uint8Array; warnings: readonly string[] } => {
    const reader = work.reader(image);
    const { reader: view, warnings } = recover({ reader, superblock: readSuperblock(reader) });
    const bytes = new Uint8Array(view.size);
    for (let at = 0; at < view.size; at += 2 ** 20) bytes.set(view.bytes(at, 2 ** 20), at);
    return { bytes, warnings };
  };
  /** Blocks that differ, but for superblocks, in which e2fsck notes the time and the state, and the journal itself. */
  const differences = (ours: Uint8Array, image: string): number[] => {
    const theirs = readFileSync(image);
    const journal = new Set(run("debugfs", ["-R", "blocks <8>", image]).trim().split(" ").map(Number));
    const blocks: number[] = [];
    for (let block = 2; block < theirs.length / 1024; block++) {
      const isBackup = (block - 1) % 8192 === 0;
      if (isBackup || journal.has(block)) continue;
      const range = [block * 1024, (block + 1) * 1024] as const;
      if (Buffer.compare(ours.subarray(...range), theirs.subarray(...range)) !== 0) blocks.push(block);
    }
    return blocks;
  };
  const blocksFile = (name: string, count: number, seed: number, magicIn: readonly number[] = []): string => {
    const path = work.path(name);
    const bytes = noise(count * 1024, seed);
    for (const block of magicIn) bytes.set([0xc0, 0x3b, 0x39, 0x98], block * 1024);
    writeFileSync(path, bytes);
    return path;
  };
  const needsRecovery = (image: string): boolean => run("dumpe2fs", ["-h", image]).includes("needs_recovery");

  const KINDS: readonly (readonly [string, readonly string[], string])[] = [
    ["no checksums", ["-O", "^metadata_csum"], "jo"],
    ["no checksums, 32 bits", ["-O", "^metadata_csum,^64bit"], "jo"],
    ["checksums version 2", ["-O", "metadata_csum"], "jo -c -v 2"],
    ["checksums version 2, 32 bits", ["-O", "metadata_csum,^64bit"], "jo -c -v 2"],
    ["checksums version 3", ["-O", "metadata_csum"], "jo -c -v 3"],
    ["checksums version 3, 32 bits", ["-O", "metadata_csum,^64bit"], "jo -c -v 3"],
    ["ext3", ["-O", "^extent,^64bit,^flex_bg,^metadata_csum"], "jo"],
  ];

  /** Writes three transactions: the second revokes a block, the third writes another one of the first again. */
  const dirty = (args: readonly string[], open: string): string => {
    const image = make(args);
    const many = Array.from({ length: 300 }, (_, index) => 30_000 + index * 2).join(",");
    debugfs(
      image,
      open,
      `jw -b 45000,45001,45002,45003 ${blocksFile("first", 4, 1, [1])}`,
      `jw -r 45000,45003`,
      `jw -b 45002,45003 ${blocksFile("third", 2, 2, [0])}`,
      `jw -b ${many} ${blocksFile("many", 300, 3)}`,
      "jc",
    );
    expect(needsRecovery(image)).toBe(true);
    return image;
  };

  describe.each(KINDS)("written by debugfs: %s", (_, args, open) => {
    it("look as if e2fsck had replayed them", () => {
      const image = dirty(args, open);
      const before = readFileSync(image);
      const { bytes, warnings } = recovered(image);
      expect(warnings).toEqual([]);
      expect(differences(bytes, replayed(image))).toEqual([]);
      // So much did change.
      expect(differences(before, replayed(image)).length).toBeGreaterThanOrEqual(303);
      expect(
        Buffer.compare(
          bytes.subarray(45_000 * 1024, 45_001 * 1024),
          before.subarray(45_000 * 1024, 45_001 * 1024),
        ),
      ).toBe(0);
      expect(Buffer.from(bytes.subarray(45_001 * 1024, 45_001 * 1024 + 4)).toString("hex")).toBe("c03b3998");
      expect(readFileSync(image).equals(before)).toBe(true);
    });
  });

  it("go round at the end of the journal", () => {
    const image = make(["-J", "size=1"]);
    // A journal of 1 MiB has 1024 blocks. What was replayed stays behind the next start.
    for (let round = 0; round < 5; round++) {
      const list = Array.from({ length: 250 }, (_, index) => 45_000 + round * 10 + index).join(",");
      debugfs(image, "jo -c", `jw -b ${list} ${blocksFile("round", 250, round)}`, "jc");
      if (round === 2) run("debugfs", ["-w", "-R", "jr", image]);
    }
    const { bytes } = recovered(image);
    expect(differences(bytes, replayed(image))).toEqual([]);
  });

  describe("damaged ones", () => {
    const journalBlock = (image: string, index: number): number =>
      Number(run("debugfs", ["-R", "blocks <8>", image]).trim().split(" ")[index]) * 1024;
    const flip = (image: string, index: number, byte: number): Buffer => {
      const bytes = readFileSync(image);
      bytes[journalBlock(image, index) + byte]! ^= 1;
      return bytes;
    };
    const open =
      (bytes: Uint8Array): (() => ReturnType<typeof openExt4>) =>
      () =>
        openExt4(new ImageReader("image", memorySource(bytes)));

    // In the log: 1 descriptor, 2 to 5 blocks, 6 commit, 7 revoke, 8 commit, 9 descriptor, 10 and 11 blocks, 12 commit.
    it("a block with a wrong checksum makes it unusable, as it does for Linux", () => {
      const image = dirty(["-O", "metadata_csum"], "jo -c -v 3");
      expect(open(flip(image, 10, 77))).toThrow(FilesystemError);
      expect(open(flip(image, 10, 77))).toThrow(/journal: wrong checksum of what it has for block 45002/);
    });

    it("a commit block with a wrong checksum ends the log", () => {
      const image = dirty(["-O", "metadata_csum"], "jo -c -v 3");
      const path = work.path("cut");
      writeFileSync(path, flip(image, 12, 60));
      const { bytes, warnings } = recovered(path);
      expect(warnings).toEqual(["the journal's last transaction (3) is incomplete and left out"]);
      const original = readFileSync(image);
      // Written by the first transaction, and again by the one that is gone.
      expect(
        Buffer.compare(bytes.subarray(45_002 * 1024, 45_003 * 1024), noise(4096, 1).subarray(2048, 3072)),
      ).toBe(0);
      expect(bytes[30_000 * 1024]).toBe(original[30_000 * 1024]);
    });

    it("a descriptor with a wrong checksum ends the log", () => {
      const image = dirty(["-O", "metadata_csum"], "jo -c -v 3");
      expect(open(flip(image, 9, 20))().warnings).toEqual([
        "the journal has a damaged transaction (3), which is left out with all after it",
      ]);
    });

    it("a superblock with a wrong checksum is an error", () => {
      const image = dirty(["-O", "metadata_csum"], "jo -c -v 3");
      expect(open(flip(image, 0, 24))).toThrow(/journal: wrong checksum/);
    });

    it("a journal on another device gives a warning", () => {
      const image = dirty(["-O", "^metadata_csum"], "jo");
      debugfs(image, "ssv journal_inum 0");
      expect(openExt4(work.reader(image)).warnings[0]).toContain("its journal is on another device");
    });
  });

  // The kernel's own: mounted in a mount namespace of its own, which takes the mount and the loop device with it.
  const KERNEL_KINDS: readonly (readonly [string, readonly string[], string])[] = [
    ["checksums version 3, journalled data", ["-O", "metadata_csum"], "data=journal"],
    ["no checksums, journalled data", ["-O", "^metadata_csum"], "data=journal"],
    ["simple checksums", ["-O", "^metadata_csum"], "journal_checksum,data=journal"],
    ["asynchronous commits", ["-O", "metadata_csum"], "journal_async_commit,data=writeback"],
    ["ordered data", ["-O", "metadata_csum,inline_data"], "data=ordered"],
  ];
  for (const [name, args, options] of KERNEL_KINDS) {
    check(
      `written by Linux: ${name}`,
      [LOOP],
      () => {
        const image = make([...args, "-J", "size=4"]);
        const mountpoint = work.path("mountpoint");
        mkdirSync(mountpoint, { recursive: true });
        const dirtyCopy = work.path("dirty");
        const script = `
          set -e
          mount -o loop,${options} "$1" "$2"
          cd "$2"
          for i in $(seq 200); do echo "content $i" > "new-$i"; done
          sync .
          mkdir made; mv new-1* made; rm -r crowd new-2*; ln -s made/new-1 link
          cp boot/vmlinuz-6.1 copy; rm boot/vmlinuz-6.1; mv copy boot/vmlinuz-6.2
          echo changed > size-60
          sync .; sync size-60; sync boot/vmlinuz-6.2
          cp "$1" "$3"
          cd /; umount "$2"`;
        execFileSync("unshare", ["--mount", "sh", "-c", script, "sh", image, mountpoint, dirtyCopy], {
          timeout: 60_000,
        });
        expect(needsRecovery(dirtyCopy)).toBe(true);
        const fs = openExt4(work.reader(dirtyCopy));
        expect(fs.warnings).toEqual([]);
        const { bytes } = recovered(dirtyCopy);
        const clean = replayed(dirtyCopy);
        expect(differences(bytes, clean)).toEqual([]);
        expect(differences(readFileSync(dirtyCopy), clean).length).toBeGreaterThan(0);
        const tree = describeNode(fs.root);
        expect(tree).toEqual(describeNode(openExt4(work.reader(clean)).root));
        expect(tree.some((line) => line.startsWith("/made/new-199 "))).toBe(true);
        expect(tree.some((line) => line.startsWith("/crowd "))).toBe(false);
        expect(Buffer.concat([...readFile(fs, "/boot/vmlinuz-6.2")]).equals(noise(3_000_001, 1))).toBe(true);
      },
      60_000,
    );
  }
});
