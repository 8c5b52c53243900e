/** The host's disk is full, now and then, in the middle of anything: requests fail, and nothing that was there is lost. */
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { QEMU_IO, suite } from "../../../test/support/needs.ts";
import type { IoVector } from "../../ffi/iovec.ts";
import { ImageFile } from "../image-file.ts";
import { ImageIoError } from "../io-error.ts";
import { DiskAccess } from "../testing/disk-access.ts";
import { qemuCheck, QEMU_IMG, qemuImg, qemuIo } from "../testing/qemu.ts";
import { Random } from "../testing/random.ts";
import { Qcow2Disk } from "./disk.ts";
import { HEADER, INCOMPATIBLE_DIRTY } from "./format.ts";
import { readHeader } from "./read-header.ts";
import { repairRefcounts } from "./repair.ts";

const SECTOR = 512;
const SIZE = 4 * 2 ** 20;
const ENOSPC = 28;

class FullFile extends ImageFile {
  full: () => boolean = () => false;
  override write(address: number, length: number, offset: number): void {
    this.#fail();
    super.write(address, length, offset);
  }
  override writev(vector: IoVector, offset: number): void {
    this.#fail();
    super.writev(vector, offset);
  }
  override grow(size: number): void {
    this.#fail();
    super.grow(size);
  }
  #fail(): void {
    if (this.full()) throw new ImageIoError(this.path, ENOSPC, "writing failed");
  }
}

suite("Qcow2Disk on a full disk", [QEMU_IMG, QEMU_IO], () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-full-"));
  const path = join(directory, "disk.qcow2");
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });
  const open = (): FullFile => {
    const fd = openSync(path, "r+");
    return new FullFile({ path, fd, size: fstatSync(fd).size, growable: true });
  };

  test.each(["cluster_size=64k", "cluster_size=4k", "cluster_size=512,refcount_bits=64"])("%s", (options) => {
    rmSync(path, { force: true });
    qemuImg("create", "-q", "-f", "qcow2", "-o", options, path, String(SIZE));
    qemuIo(path, "qcow2", "write -P 5 0 600k");
    qemuImg("snapshot", "-c", "one", path);
    const file = open();
    const random = new Random(options);
    const access = new DiskAccess(
      new Qcow2Disk({ file, header: readHeader(file), readOnly: false, l2CacheBytes: 2 ** 16 }),
    );
    const initial = access.content();
    const possible = Array.from(
      { length: SIZE / SECTOR },
      (_, sector) => new Set([initial[sector * SECTOR]!]),
    );
    let failures = 0;
    for (let step = 1; step < 250; step++) {
      file.full = () => random.below(4) === 0;
      const first = random.below(SIZE / SECTOR);
      const count = Math.min(SIZE / SECTOR - first, 1 + random.below(200));
      const value = 1 + (step % 255);
      const kind = random.below(8);
      let error: number;
      let written = 0;
      if (kind < 5) {
        error = access.tryWrite(first * SECTOR, Buffer.alloc(count * SECTOR, value));
        written = value;
      } else if (kind === 5) error = access.disk.writeZeroes(first * SECTOR, count * SECTOR, true);
      else if (kind === 6) error = access.disk.writeZeroes(first * SECTOR, count * SECTOR, false);
      else {
        error = access.disk.flush();
        if (error !== 0) failures += 1;
        continue;
      }
      expect([0, ENOSPC]).toContain(error);
      if (error !== 0) failures += 1;
      for (let sector = first; sector < first + count; sector++) {
        if (error === 0) possible[sector]!.clear();
        possible[sector]!.add(written);
      }
    }
    expect(failures).toBeGreaterThan(20);
    file.full = () => false;
    access.flush();
    const verify = (content: Buffer): void => {
      for (const [sector, values] of possible.entries()) {
        const seen = content.subarray(sector * SECTOR, (sector + 1) * SECTOR);
        if (!values.has(seen[0]!) || seen.some((byte) => byte !== seen[0])) {
          expect.fail(`sector ${sector} has ${seen[0]}, possible: ${[...values].join()}`);
        }
      }
    };
    verify(access.content());
    access.close();
    closeSync(file.fd);
    const { corruptions, errors, output } = qemuCheck(path);
    expect({ corruptions, errors }, output).toEqual({ corruptions: 0, errors: 0 });
    const again = open();
    verify(
      new DiskAccess(new Qcow2Disk({ file: again, header: readHeader(again), readOnly: true })).content(),
    );
    closeSync(again.fd);
    qemuImg("snapshot", "-a", "one", path);
    qemuIo(path, "qcow2", "read -P 5 0 600k");
  });

  test("a repair that is interrupted is done again", () => {
    rmSync(path, { force: true });
    qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "-o",
      "lazy_refcounts=on,cluster_size=512,refcount_bits=64",
      path,
      String(SIZE),
    );
    qemuIo(path, "qcow2", "write -P 7 0 3M");
    const fd = openSync(path, "r+");
    writeSync(fd, Buffer.from([0, 0, 0, INCOMPATIBLE_DIRTY]), 0, 4, HEADER.incompatibleFeatures + 4);
    // Counts of several blocks are wrong.
    const block = Buffer.alloc(8);
    const file = open();
    readSync(fd, block, 0, 8, readHeader(file).refcountTableOffset + 16);
    closeSync(file.fd);
    writeSync(fd, Buffer.alloc(512), 0, 512, block.readUInt32BE(4));
    closeSync(fd);
    expect(qemuCheck(path).corruptions).toBeGreaterThan(0);
    for (let writes = 0; ; writes++) {
      const file = open();
      let left = writes;
      file.full = () => left-- <= 0;
      let done = false;
      try {
        repairRefcounts(file, readHeader(file));
        done = true;
      } catch (error) {
        if (!(error instanceof ImageIoError)) throw error;
      }
      expect(readHeader(file).dirty).toBe(!done);
      closeSync(file.fd);
      if (done) break;
    }
    const { corruptions, errors, leaks } = qemuCheck(path);
    expect({ corruptions, errors, leaks }).toEqual({ corruptions: 0, errors: 0, leaks: 0 });
    qemuIo(path, "qcow2", "read -P 7 0 3M");
  });
});
