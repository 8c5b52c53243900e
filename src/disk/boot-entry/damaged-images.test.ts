/**
 * Real images with random damage: whatever is on a disk, reading it ends, in data or in a TsvmError, after a bounded number of
 * reads and without large allocations.
 */
import { closeSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { buildBzImage } from "../../boot/testing/build-bzimage.ts";
import { DEBUGFS, MKE2FS, suite, tool } from "../../../test/support/needs.ts";
import { TsvmError } from "../../errors.ts";
import { DiskImage } from "../filesystem/disk-image.ts";
import type { FileNode } from "../filesystem/filesystem.ts";
import { blank, debugfs, run, workspace } from "../filesystem/testing/images.ts";
import { noise } from "../filesystem/testing/trees.ts";
import type { BlockSource } from "../source/block-source.ts";
import { extractFile, extractInitrds } from "./extract.ts";
import { findKernel, listKernels } from "./find-kernel.ts";
import { buildUki } from "./testing/build-uki.ts";

// Other programs make the images.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const ITERATIONS = 250;
const MAX_NODES = 400;
const MAX_READS = 60_000;
const MAX_BYTES_OF_A_FILE = 8 * 2 ** 20;

const NEEDS = [
  MKE2FS,
  DEBUGFS,
  tool("mkfs.vfat", "dosfstools"),
  tool("mcopy", "mtools"),
  tool("sfdisk", "fdisk"),
  tool("xorriso", "xorriso"),
];

/** xorshift: the same damage every time. */
function randomSource(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

class CountingSource implements BlockSource {
  readonly size: number;
  reads = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  read(offset: number, length: number): Uint8Array {
    this.reads++;
    if (this.reads > MAX_READS) throw new Error(`more than ${MAX_READS} reads`);
    if (offset < 0 || length < 0 || length > 2 ** 20 || offset + length > this.size) {
      throw new Error(`read of ${length} bytes at ${offset}`);
    }
    return this.#bytes.slice(offset, offset + length);
  }
}

/** Lists and reads all that can be reached, up to a limit: a damaged tree may have no end. */
function walk(root: FileNode): void {
  const todo = [root];
  for (let count = 0; todo.length > 0 && count < MAX_NODES; count++) {
    const node = todo.pop()!;
    tolerate(() => {
      if (node.type === "directory") {
        let entries = 0;
        for (const entry of node.entries()) {
          if (entries++ > MAX_NODES) break;
          tolerate(() => todo.push(entry.node()));
        }
        node.lookup("nothing");
      } else if (node.type === "symlink") {
        expect(node.target().length).toBeLessThanOrEqual(4096);
      } else if (node.type === "file") {
        let total = 0;
        for (const { bytes, offset } of node.content()) {
          expect(offset + bytes.length).toBeLessThanOrEqual(node.size);
          total += bytes.length;
          if (total > MAX_BYTES_OF_A_FILE) break;
        }
      }
    });
  }
}

function tolerate(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof TsvmError)) throw error;
  }
}

function exercise(bytes: Uint8Array): void {
  const source = new CountingSource(bytes);
  tolerate(() => {
    const image = new DiskImage("image", source);
    for (const { content } of image.volumes) if (content.kind === "filesystem") walk(content.filesystem.root);
    tolerate(() => {
      const { entry } = findKernel(image);
      closeSync(extractFile(image, entry.kernel).fd);
      const initrd = extractInitrds(image, entry.initrds);
      if (initrd !== undefined) closeSync(initrd.fd);
    });
    tolerate(() => listKernels(image));
  });
}

/** Ways to damage an image, each with some number of places. */
function damage(
  bytes: Uint8Array,
  random: (below: number) => number,
  hot: readonly (readonly number[])[],
): void {
  const hotByte = (): number => {
    const block = hot[random(hot.length)]!;
    return block[random(block.length)]!;
  };
  const place = (): number => {
    // Metadata mostly: content cannot be wrong.
    return random(10) === 0 ? random(bytes.length) : hotByte();
  };
  const count = 1 + random(40);
  for (let index = 0; index < count; index++) {
    const at = place();
    switch (random(6)) {
      case 0:
        bytes[at]! ^= 1 << random(8);
        break;
      case 1:
        bytes[at] = random(256);
        break;
      case 2: {
        // Numbers that break things.
        const values = [
          0,
          1,
          0x7fff_ffff,
          0x8000_0000,
          0xffff_ffff,
          0xffff,
          bytes.length,
          bytes.length / 1024,
        ];
        new DataView(bytes.buffer, bytes.byteOffset).setUint32(
          Math.min(at - (at % 4), bytes.length - 4),
          values[random(values.length)]!,
          true,
        );
        break;
      }
      case 3:
        bytes.fill(random(2) * 255, at, at + random(64));
        break;
      case 4: {
        const from = hotByte();
        bytes.copyWithin(at - (at % 1024), from - (from % 1024), from - (from % 1024) + 1024);
        break;
      }
      default:
        for (let end = at + random(512); end > at; end--) if (end < bytes.length) bytes[end] = random(256);
    }
  }
}

/** Per block, the bytes that say something, of blocks that are neither zeros nor the noise of files: where the metadata is. */
function metadataBytes(bytes: Uint8Array): number[][] {
  const blocks: number[][] = [];
  for (let start = 0; start + 1024 <= bytes.length; start += 1024) {
    const block = bytes.subarray(start, start + 1024);
    const zeros = block.filter((byte) => byte === 0).length;
    // Bitmaps and empty space are of one value.
    if (zeros <= 100 || block.every((byte) => byte === 0 || byte === 0xff)) continue;
    const positions = [...block.entries()].flatMap(([index, byte]) => (byte === 0 ? [] : [start + index]));
    blocks.push(positions);
  }
  return blocks;
}

suite("damaged images", NEEDS, () => {
  const work = workspace();
  afterAll(work.remove);
  const tree = work.path("tree");

  beforeAll(() => {
    const at = (...path: string[]): string => join(tree, ...path);
    mkdirSync(at("boot/grub"), { recursive: true });
    mkdirSync(at("sbin"));
    writeFileSync(at("sbin/init"), "init");
    writeFileSync(at("boot/vmlinuz-6.1"), buildBzImage({ codeSize: 0x8000 }));
    writeFileSync(at("boot/initrd.img-6.1"), noise(150_000, 1));
    writeFileSync(
      at("boot/grub/grub.cfg"),
      `set default=0\nsearch --set=root --file /boot/vmlinuz-6.1\nmenuentry "A" { linux /boot/vmlinuz-6.1 root=/dev/vda1\n initrd /boot/initrd.img-6.1\n}\n`,
    );
    mkdirSync(at("crowd"));
    for (let index = 0; index < 60; index++)
      writeFileSync(at("crowd", `file-${index}-${"n".repeat(index)}`), noise(index * 4, index));
    mkdirSync(at("a/b/c/d/e"), { recursive: true });
    writeFileSync(at("a/b/c/d/e/deep"), noise(70, 2));
    for (const length of [10, 80, 1000]) symlinkSync("x/".repeat(length / 2), at(`link-${length}`));
    symlinkSync("a/../link-loop", at("link-loop"));
    writeFileSync(at("large"), noise(400_000, 3));
  });

  const ext = (name: string, args: readonly string[], mebibytes = 3): Uint8Array => {
    const path = blank(work.path(name), mebibytes);
    run("mke2fs", ["-q", "-F", "-b", "1024", "-N", "320", ...args, "-d", tree, path]);
    return readFileSync(path);
  };
  const fat = (args: readonly string[], mebibytes: number): Uint8Array => {
    const path = blank(work.path("fat"), mebibytes);
    run("mkfs.vfat", [...args, path]);
    const esp = work.path("esp");
    mkdirSync(join(esp, "EFI/Linux"), { recursive: true });
    mkdirSync(join(esp, "loader/entries"), { recursive: true });
    writeFileSync(
      join(esp, "EFI/Linux/a long name.efi"),
      buildUki({ ".cmdline": "x", ".initrd": noise(3000, 1), ".linux": buildBzImage() }),
    );
    writeFileSync(join(esp, "loader/entries/a.conf"), "title a\nefi /EFI/Linux/a long name.efi\n");
    writeFileSync(join(esp, "extlinux.conf"), "label a\nlinux /EFI/Linux/a long name.efi\n");
    run("mcopy", [
      "-s",
      "-i",
      path,
      ...["EFI", "loader", "extlinux.conf"].map((name) => join(esp, name)),
      "::",
    ]);
    return readFileSync(path);
  };
  const disk = (
    script: string,
    parts: readonly (readonly [mebibyte: number, content: Uint8Array])[],
  ): Uint8Array => {
    const path = blank(work.path("disk"), 10);
    run("sfdisk", ["-q", path], script);
    const bytes = new Uint8Array(readFileSync(path));
    for (const [mebibyte, content] of parts) bytes.set(content, mebibyte * 2 ** 20);
    return bytes;
  };

  const IMAGES: Readonly<Record<string, () => Uint8Array>> = {
    "ext4 without checksums": () => ext("plain", ["-t", "ext4", "-O", "^metadata_csum,^has_journal"]),
    "ext4 with checksums": () => ext("checksums", ["-t", "ext4", "-O", "metadata_csum,^has_journal"]),
    "ext4 with inline data": () =>
      ext("inline", ["-t", "ext4", "-O", "inline_data,^metadata_csum,^has_journal"]),
    ext2: () => ext("ext2", ["-t", "ext2"]),
    "ext4 with hashed directories": () => {
      ext("hashed", ["-t", "ext4", "-O", "^metadata_csum,^has_journal"]);
      try {
        run("e2fsck", ["-fyD", work.path("hashed")]);
      } catch {
        // Its status says that it changed something.
      }
      return readFileSync(work.path("hashed"));
    },
    "ext4 with a journal to be replayed": () => {
      ext("dirty", ["-t", "ext4", "-O", "^metadata_csum", "-J", "size=1"], 5);
      const blocks = work.path("blocks");
      writeFileSync(blocks, noise(40 * 1024, 5));
      const list = Array.from({ length: 40 }, (_, index) => 4500 + index).join(",");
      debugfs(
        work.path("dirty"),
        "jo",
        `jw -b ${list} ${blocks}`,
        "jw -r 4500,4501,4502",
        `jw -b 4503 ${blocks}`,
        "jc",
      );
      return readFileSync(work.path("dirty"));
    },
    FAT12: () => fat(["-F", "12"], 1),
    FAT16: () => fat(["-F", "16", "-s", "1"], 4),
    FAT32: () => fat(["-F", "32", "-s", "1"], 34),
    "GPT with FAT and ext4": () =>
      disk("label: gpt\nstart=1MiB,size=1MiB,type=U\nstart=3MiB,size=3MiB,type=L\n", [
        [1, fat(["-F", "12"], 1)],
        [3, ext("part", ["-t", "ext4", "-O", "^metadata_csum,^has_journal"])],
      ]),
    "ISO 9660 with Rock Ridge and Joliet": () => {
      const path = work.path("iso");
      const to1000 = join(tree, "link-1000");
      run("xorriso", [
        "-report_about",
        "FAILURE",
        "-as",
        "mkisofs",
        "-R",
        "-J",
        "-m",
        to1000,
        "-o",
        path,
        tree,
      ]);
      return readFileSync(path);
    },
    "MBR with logical partitions": () =>
      disk("label: dos\nsize=1MiB,type=ef\nsize=8MiB,type=5\nsize=1MiB\nsize=3MiB\n", [
        [1, fat(["-F", "12"], 1)],
        [5, ext("part", ["-t", "ext2"])],
      ]),
  };

  it.each(Object.keys(IMAGES))(
    "%s",
    (name) => {
      const original = new Uint8Array(IMAGES[name]!());
      const hot = metadataBytes(original);
      exercise(original);
      const iterations = original.length > 16 * 2 ** 20 ? ITERATIONS / 5 : ITERATIONS;
      for (let seed = 1; seed <= iterations; seed++) {
        const bytes = original.slice();
        damage(bytes, randomSource(seed), hot);
        try {
          exercise(bytes);
        } catch (error) {
          throw new Error(`seed ${seed}: ${(error as Error).stack}`, { cause: error });
        }
      }
    },
    300_000,
  );

  describe("cut off", () => {
    it.each(Object.keys(IMAGES))(
      "%s",
      (name) => {
        const original = new Uint8Array(IMAGES[name]!());
        const random = randomSource(7);
        for (let round = 0; round < 40; round++) exercise(original.slice(0, random(original.length)));
      },
      120_000,
    );
  });
});
