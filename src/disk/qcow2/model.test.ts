/** Random requests against arrays of bytes, on images that qemu-img made; qemu-img judges the result. */
import { closeSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect } from "vitest";
import { check, QEMU_IO, suite } from "../../../test/support/needs.ts";
import { openDisk } from "../open.ts";
import { buildDisk } from "../plan.ts";
import { DiskAccess } from "../testing/disk-access.ts";
import { qemuCheck, qemuCompare, QEMU_IMG, qemuImg, qemuIo } from "../testing/qemu.ts";
import { Random } from "../testing/random.ts";

const SECTOR = 512;

interface Variant {
  readonly name: string;
  /** Options of qemu-img create. */
  readonly options: string;
  /** Bytes. */
  readonly size: number;
  readonly backing?: "raw" | "qcow2" | "compressed" | "zstd";
  /** Bytes; `size` if not given. */
  readonly backingSize?: number;
  readonly snapshot?: boolean;
  /** The image itself begins compressed. */
  readonly compressed?: boolean;
  /** Slots of the L2 cache: few make it write back in the middle of everything. */
  readonly l2CacheBytes?: number;
  readonly operations?: number;
}

const M = 2 ** 20;
const VARIANTS: readonly Variant[] = [
  { name: "as qemu-img makes it", options: "compat=1.1", size: 12 * M },
  { name: "version 2", options: "compat=0.10", size: 6 * M },
  {
    name: "version 2 over a backing file",
    options: "compat=0.10,cluster_size=4k",
    size: 2 * M,
    backing: "raw",
  },
  { name: "clusters of 512 bytes", options: "cluster_size=512", size: 3 * M, l2CacheBytes: 8192 },
  { name: "clusters of 512 bytes, 64-bit counts", options: "cluster_size=512,refcount_bits=64", size: 2 * M },
  { name: "clusters of 1 KiB, 1-bit counts", options: "cluster_size=1k,refcount_bits=1", size: 3 * M },
  { name: "clusters of 2 KiB, 2-bit counts", options: "cluster_size=2k,refcount_bits=2", size: 3 * M },
  { name: "clusters of 4 KiB, 4-bit counts", options: "cluster_size=4k,refcount_bits=4", size: 3 * M },
  { name: "clusters of 8 KiB, 8-bit counts", options: "cluster_size=8k,refcount_bits=8", size: 5 * M },
  { name: "clusters of 32 KiB, 32-bit counts", options: "cluster_size=32k,refcount_bits=32", size: 5 * M },
  { name: "clusters of 2 MiB", options: "cluster_size=2M", size: 21 * M + SECTOR },
  { name: "a size that ends within a cluster", options: "cluster_size=64k", size: 3 * M + 3 * SECTOR },
  { name: "lazy refcounts", options: "lazy_refcounts=on", size: 5 * M },
  { name: "preallocated metadata", options: "preallocation=metadata,cluster_size=4k", size: 2 * M },
  { name: "preallocated space", options: "preallocation=falloc", size: 2 * M },
  { name: "preallocated zeros", options: "preallocation=full,cluster_size=16k", size: 2 * M },
  { name: "over a raw file", options: "cluster_size=4k", size: 2 * M, backing: "raw" },
  {
    name: "over a shorter raw file that ends within a sector",
    options: "cluster_size=16k",
    size: 3 * M,
    backing: "raw",
    backingSize: M + 777,
  },
  {
    name: "over a longer qcow2 file",
    options: "cluster_size=8k",
    size: M + 5 * SECTOR,
    backing: "qcow2",
    backingSize: 3 * M,
  },
  { name: "over a zlib-compressed file", options: "cluster_size=4k", size: 2 * M, backing: "compressed" },
  { name: "over a zstd-compressed file", options: "cluster_size=64k", size: 2 * M, backing: "zstd" },
  { name: "compressed", options: "cluster_size=16k", size: 2 * M, compressed: true },
  { name: "compressed with zstd", options: "compression_type=zstd", size: 2 * M, compressed: true },
  { name: "compressed in clusters of 512 bytes", options: "cluster_size=512", size: M, compressed: true },
  { name: "with a snapshot", options: "cluster_size=4k", size: 2 * M, snapshot: true },
  {
    name: "compressed, with a snapshot, over a backing file",
    options: "cluster_size=32k",
    size: 2 * M,
    compressed: true,
    snapshot: true,
    backing: "qcow2",
  },
];

suite("Qcow2Disk against a model", [QEMU_IMG, QEMU_IO], () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-qcow2-"));
  const at = (name: string): string => join(directory, name);
  const opened: number[] = [];
  afterEach(() => {
    for (const fd of opened.splice(0)) closeSync(fd);
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  /** Random content with holes and with runs that compress. */
  const randomContent = (random: Random, size: number): Buffer => {
    const bytes = Buffer.alloc(size);
    for (let offset = 0; offset < size;) {
      const length = Math.min(size - offset, 512 * (1 + random.below(200)));
      const kind = random.below(3);
      if (kind === 1) bytes.fill(1 + random.below(255), offset, offset + length);
      if (kind === 2) random.fill(bytes.subarray(offset, offset + length));
      offset += length;
    }
    return bytes;
  };

  const prepare = (variant: Variant, random: Random): { path: string; model: Buffer } => {
    const { size, options, backing } = variant;
    const [path, base, raw] = [at("disk.qcow2"), at("base"), at("raw")];
    for (const file of [path, base, raw]) rmSync(file, { force: true });
    const model = Buffer.alloc(size);
    const args = ["create", "-q", "-f", "qcow2", "-o", options];
    if (backing !== undefined) {
      const content = randomContent(random, variant.backingSize ?? size);
      writeFileSync(raw, content);
      content.copy(model);
      if (backing === "raw") writeFileSync(base, content);
      else {
        const type =
          backing === "zstd" ? ["-c", "-o", "compression_type=zstd"] : backing === "compressed" ? ["-c"] : [];
        qemuImg("convert", "-f", "raw", "-O", "qcow2", ...type, raw, base);
      }
      args.push("-b", base, "-F", backing === "raw" ? "raw" : "qcow2");
    }
    if (variant.compressed === true) {
      const content = randomContent(random, size);
      writeFileSync(raw, content);
      content.copy(model);
      const over = backing === undefined ? [] : ["-B", base, "-F", "qcow2"];
      qemuImg("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, ...over, raw, path);
    } else qemuImg(...args, path, String(size));
    if (variant.snapshot === true) {
      qemuIo(path, "qcow2", "write -P 0x5a 64k 256k");
      model.fill(0x5a, 64 * 1024, (64 + 256) * 1024);
      qemuImg("snapshot", "-c", "one", path);
    }
    return { path, model };
  };

  for (const variant of VARIANTS) {
    check(
      variant.name,
      [],
      () => {
        const random = new Random(variant.name);
        const { path, model } = prepare(variant, random);
        const before = Buffer.from(model);
        const { size, l2CacheBytes } = variant;
        const sectors = size / SECTOR;
        let access: DiskAccess;
        const open = (): void => {
          const disk = openDisk(path, { readOnly: false, ephemeral: false });
          opened.push(...disk.fds);
          access = new DiskAccess(buildDisk(disk.plan, l2CacheBytes === undefined ? {} : { l2CacheBytes }));
        };
        const close = (): void => {
          access.close();
          for (const fd of opened.splice(0)) closeSync(fd);
          const { corruptions, errors, leaks, output } = qemuCheck(path);
          expect({ corruptions, errors, leaks }, output).toEqual({ corruptions: 0, errors: 0, leaks: 0 });
        };
        open();
        for (let step = 0; step < (variant.operations ?? 200); step++) {
          const first = random.below(sectors);
          const most = random.below(8) === 0 ? 2000 : 70;
          const count = Math.min(sectors - first, 1 + random.below(most));
          const [offset, length] = [first * SECTOR, count * SECTOR];
          const end = offset + length;
          const kind = random.below(100);
          if (kind < 40) {
            const bytes = Buffer.alloc(length);
            random.fill(bytes);
            access!.write(offset, bytes);
            bytes.copy(model, offset);
          } else if (kind < 60) {
            const seen = access!.read(offset, length);
            if (!seen.equals(model.subarray(offset, end)))
              expect.fail(`step ${step}: read of ${length} at ${offset}`);
          } else if (kind < 72) {
            access!.writeZeroes(offset, length, random.below(2) === 0);
            model.fill(0, offset, end);
          } else if (kind < 84) {
            access!.discard(offset, length);
            // Zeros or what was there: for each cluster one of them, as a read finds out.
            const seen = access!.read(offset, length);
            for (let sector = 0; sector < length; sector += SECTOR) {
              const now = seen.subarray(sector, sector + SECTOR);
              const was = model.subarray(offset + sector, offset + sector + SECTOR);
              if (!now.equals(was) && now.some((byte) => byte !== 0)) {
                expect.fail(`step ${step}: discard left something else at ${offset + sector}`);
              }
            }
            seen.copy(model, offset);
          } else if (kind < 97) access!.flush();
          else {
            close();
            open();
          }
        }
        expect(access!.content().equals(model)).toBe(true);
        close();
        writeFileSync(at("model"), model);
        expect(qemuCompare(path, "qcow2", at("model"), "raw")).toBeUndefined();
        if (variant.snapshot === true) {
          qemuImg("snapshot", "-a", "one", path);
          writeFileSync(at("model"), before);
          expect(qemuCompare(path, "qcow2", at("model"), "raw")).toBeUndefined();
        }
      },
      60_000,
    );
  }
});
