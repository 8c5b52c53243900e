/**
 * Damaged and hostile images: bits of their tables are flipped, whole fields replaced. Whatever is in them, opening and using
 * one ends in data or in an error that says what is wrong, soon, and guest data never lands where tables are.
 */
import {
  closeSync,
  copyFileSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { TsvmError } from "../../errors.ts";
import { check, QEMU_IO, suite } from "../../../test/support/needs.ts";
import { ImageFile } from "../image-file.ts";
import { imageInfo } from "../info.ts";
import { openDisk } from "../open.ts";
import { buildDisk } from "../plan.ts";
import { DiskAccess } from "../testing/disk-access.ts";
import { qemuCheck, QEMU_IMG, qemuImg, qemuIo } from "../testing/qemu.ts";
import { Random } from "../testing/random.ts";
import { EntryTable } from "./entry-table.ts";
import { entryOffset } from "./format.ts";
import { readHeader } from "./read-header.ts";

const ROUNDS = 150;
const SIZE = 4 * 2 ** 20;
/** What the guest writes, and nothing else does. */
const GUEST = Buffer.alloc(64, 0xd5);
const EIO = 5;

const VARIANTS = {
  "as qemu-img makes it": { options: "cluster_size=4k" },
  "version 2": { options: "compat=0.10,cluster_size=4k" },
  "clusters of 512 bytes": { options: "cluster_size=512,refcount_bits=1" },
  "clusters of 2 MiB": { options: "cluster_size=2M" },
  "with snapshots": { options: "cluster_size=4k", snapshot: true },
  "compressed with zlib": { options: "cluster_size=4k", compressed: true },
  "compressed with zstd": { options: "cluster_size=4k,compression_type=zstd", compressed: true },
} satisfies Record<string, { options: string; snapshot?: boolean; compressed?: boolean }>;

suite("damaged images", [QEMU_IMG, QEMU_IO], () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-hostile-"));
  const at = (name: string): string => join(directory, name);
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  const prepare = (options: string, snapshot: boolean, compressed: boolean): void => {
    for (const name of ["plain", "good"]) rmSync(at(name), { force: true });
    const writes = [
      "write -P 0x11 0 300k",
      "write -P 0x22 1M 64k",
      "write -z 2M 128k",
      "write -P 0x33 3M 600k",
    ];
    qemuImg("create", "-q", "-f", "qcow2", "-o", options, at("good"), String(SIZE));
    qemuIo(at("good"), "qcow2", ...writes.filter((one) => !one.includes("-z") || !options.includes("0.10")));
    if (snapshot) {
      qemuImg("snapshot", "-c", "one", at("good"));
      qemuIo(at("good"), "qcow2", "write -P 0x44 100k 100k");
    }
    if (compressed) {
      copyFileSync(at("good"), at("plain"));
      qemuImg("convert", "-c", "-O", "qcow2", "-o", options, at("plain"), at("good"));
    }
  };

  /** Offset and length of what is worth damaging: header, tables. */
  const tablesOf = (path: string): [number, number][] => {
    const fd = openSync(path, "r");
    try {
      const file = new ImageFile({ path, fd, size: fstatSync(fd).size, growable: true });
      const header = readHeader(file);
      const { clusterSize } = header;
      const ranges: [number, number][] = [
        [0, 120],
        [header.l1Offset, header.l1Entries * 8],
        [header.refcountTableOffset, 16],
      ];
      if (header.snapshotCount > 0) ranges.push([header.snapshotsOffset, 80]);
      const l1 = new EntryTable(file, header.l1Offset, header.l1Entries);
      l1.read();
      for (let index = 0; index < l1.entries; index++) {
        const offset = entryOffset(l1.high(index), l1.low(index));
        if (offset !== 0) ranges.push([offset, Math.min(clusterSize, 2048)]);
      }
      const refcounts = new EntryTable(file, header.refcountTableOffset, clusterSize / 8);
      refcounts.read();
      for (let index = 0; index < refcounts.entries; index++) {
        if (refcounts.low(index) !== 0) ranges.push([refcounts.low(index), Math.min(clusterSize, 512)]);
      }
      return ranges;
    } finally {
      closeSync(fd);
    }
  };

  const damage = (path: string, ranges: readonly [number, number][], random: Random): void => {
    const fd = openSync(path, "r+");
    for (let hits = 1 + random.below(4); hits > 0; hits--) {
      const [start, length] = ranges[random.below(ranges.length)]!;
      const bytes = Buffer.alloc(8);
      const place = start + (random.below(length) & ~7);
      readSync(fd, bytes, 0, 8, place);
      const kind = random.below(5);
      if (kind === 0) random.fill(bytes);
      else if (kind === 1) bytes.fill(random.below(2) * 0xff);
      // An offset of something else: tables that overlap.
      else if (kind === 2) {
        const other = ranges[random.below(ranges.length)]!;
        bytes.writeUInt32BE(other[0], 4);
        bytes[0] = 0x80 * random.below(2);
      } else bytes[random.below(8)]! ^= 1 << random.below(8);
      writeSync(fd, bytes, 0, 8, place);
    }
    closeSync(fd);
  };

  /** Guest data where the tables of the image as it is now are. */
  const trespass = (path: string): string | undefined => {
    const content = readFileSync(path);
    const ranges = tablesOf(path);
    const hit = ranges.find(([start, length]) => content.subarray(start, start + length).includes(GUEST));
    return hit === undefined ? undefined : `guest data in the table at ${hit[0]}`;
  };

  const use = (path: string, random: Random, readOnly: boolean): void => {
    const disk = openDisk(path, { readOnly, ephemeral: false, format: "qcow2" });
    try {
      const reports: string[] = [];
      const access = new DiskAccess(
        buildDisk(disk.plan, { report: (error) => reports.push(error.message), l2CacheBytes: 2 ** 16 }),
      );
      const sectors = Math.min(disk.size, SIZE) / 512;
      for (let step = 0; step < 25; step++) {
        const first = random.below(sectors);
        const count = Math.min(sectors - first, 1 + random.below(300));
        const [offset, length] = [first * 512, count * 512];
        const started = performance.now();
        const kind = random.below(6);
        if (kind < 2) access.tryRead(offset, length);
        else if (kind === 2) access.tryWrite(offset, Buffer.alloc(length, GUEST));
        else if (kind === 3) access.disk.discard(offset, length);
        else if (kind === 4) access.disk.writeZeroes(offset, length, random.below(2) === 0);
        else access.disk.flush();
        if (performance.now() - started > 5000)
          expect.fail(`step ${step} took ${performance.now() - started} ms`);
      }
      access.disk.close?.();
      for (const report of reports) expect(report).toContain(path);
    } finally {
      for (const fd of disk.fds) closeSync(fd);
    }
  };

  /** Anything but an error that is meant to be read is a bug. */
  const tolerate = (action: () => void): string => {
    try {
      action();
      return "";
    } catch (error) {
      if (!(error instanceof TsvmError)) throw error;
      expect(error.message).toMatch(/^disk /);
      return error.message;
    }
  };

  for (const [name, variant] of Object.entries(VARIANTS)) {
    check(
      name,
      [],
      () => {
        prepare(variant.options, "snapshot" in variant, "compressed" in variant);
        const ranges = tablesOf(at("good"));
        const size = statSync(at("good")).size;
        let opened = 0;
        for (let round = 0; round < ROUNDS; round++) {
          const random = new Random(`${name} ${round}`);
          copyFileSync(at("good"), at("bad"));
          damage(at("bad"), ranges, random);
          tolerate(() => imageInfo(at("bad")));
          tolerate(() => use(at("bad"), new Random(`${round}`), true));
          const refused = tolerate(() => use(at("bad"), random, false));
          if (refused !== "") continue;
          opened += 1;
          expect(trespass(at("bad")), `round ${round}`).toBeUndefined();
          expect(statSync(at("bad")).size, `round ${round}`).toBeLessThan(size + 40 * 2 ** 20);
        }
        // Otherwise this has tested the header's checks only.
        expect(opened).toBeGreaterThan(ROUNDS / 5);
      },
      120_000,
    );
  }

  check("that call a table free: are marked as corrupt, and written to no more", [], () => {
    prepare("cluster_size=64k", false, false);
    // All reference counts of the first block are 0.
    const fd = openSync(at("good"), "r+");
    const block = Buffer.alloc(8);
    readSync(fd, block, 0, 8, 0x10000);
    writeSync(fd, Buffer.alloc(0x10000), 0, 0x10000, block.readUInt32BE(4));
    closeSync(fd);
    const disk = openDisk(at("good"), { readOnly: false, ephemeral: false });
    const reports: string[] = [];
    const access = new DiskAccess(buildDisk(disk.plan, { report: (error) => reports.push(error.message) }));
    expect(access.tryWrite(2 * 2 ** 20, Buffer.alloc(512, 1))).toBe(EIO);
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatch(/the image is damaged \(of the clusters 0 to .* one holds a table\)/);
    expect(access.tryWrite(0, Buffer.alloc(512, 1))).toBe(EIO);
    expect(access.disk.flush()).toBe(EIO);
    expect(access.read(0, 512).every((byte) => byte === 0x11)).toBe(true);
    expect(access.disk.close?.()).toBe(0);
    for (const one of disk.fds) closeSync(one);
    expect(() => openDisk(at("good"), { readOnly: false, ephemeral: false })).toThrow(/marked as corrupt/);
    for (const one of openDisk(at("good"), { readOnly: true, ephemeral: false }).fds) closeSync(one);
    qemuImg("check", "-q", "-r", "all", at("good"));
    expect(qemuCheck(at("good")).corruptions).toBe(0);
    for (const one of openDisk(at("good"), { readOnly: false, ephemeral: false }).fds) closeSync(one);
  });
});
