/** What images say of themselves, and what tsvm makes of it. */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { QEMU_IO, suite } from "../../../test/support/needs.ts";
import { imageInfo } from "../info.ts";
import { openDisk } from "../open.ts";
import { buildDisk } from "../plan.ts";
import { DiskAccess } from "../testing/disk-access.ts";
import { qemuCheck, qemuCompare, QEMU_IMG, qemuImg, qemuIo } from "../testing/qemu.ts";
import { type FileEvent, RecordingFile } from "../testing/recording-file.ts";
import { Qcow2Disk } from "./disk.ts";
import { HEADER } from "./format.ts";
import { readHeader } from "./read-header.ts";

const READ_ONLY = { readOnly: true, ephemeral: false };
const WRITABLE = { readOnly: false, ephemeral: false };

suite("features of qcow2 images", [QEMU_IMG, QEMU_IO], () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-features-"));
  const path = join(directory, "disk.qcow2");
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });
  const create = (options: string, size = "16M"): void => {
    rmSync(path, { force: true });
    qemuImg("create", "-q", "-f", "qcow2", "-o", options, path, size);
  };
  const use = (options: typeof READ_ONLY, action: (access: DiskAccess) => void): void => {
    const disk = openDisk(path, options);
    try {
      const access = new DiskAccess(buildDisk(disk.plan));
      action(access);
      access.close();
    } finally {
      for (const fd of disk.fds) closeSync(fd);
    }
  };
  const header = (at: number): number => {
    const bytes = Buffer.alloc(4);
    const fd = openSync(path, "r");
    readSync(fd, bytes, 0, 4, at);
    closeSync(fd);
    return bytes.readUInt32BE();
  };
  const setHeader = (at: number, value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    const fd = openSync(path, "r+");
    writeSync(fd, bytes, 0, 4, at);
    closeSync(fd);
  };
  const expectClean = (): void => {
    const { corruptions, errors, leaks, output } = qemuCheck(path);
    expect({ corruptions, errors, leaks }, output).toEqual({ corruptions: 0, errors: 0, leaks: 0 });
  };

  test("that tsvm does not know are refused by name", () => {
    create("data_file=" + join(directory, "data"));
    expect(() => openDisk(path, READ_ONLY)).toThrow(/uses what tsvm does not support: external data file/);
    create("extended_l2=on");
    expect(() => openDisk(path, READ_ONLY)).toThrow(/does not support: extended L2 entries \(subclusters\)/);
    rmSync(path);
    qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "--object",
      "secret,id=s,data=x",
      "-o",
      "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
      path,
      "1M",
    );
    expect(() => openDisk(path, READ_ONLY)).toThrow(/is encrypted \(LUKS\)/);
    create("compat=1.1");
    setHeader(HEADER.incompatibleFeatures, 1 << 8); // bit 40
    expect(() => openDisk(path, READ_ONLY)).toThrow(/does not support: incompatible feature bit 40/);
    create("compat=1.1");
    setHeader(HEADER.version, 4);
    expect(() => openDisk(path, READ_ONLY)).toThrow(/is a qcow image of version 4; tsvm knows 2 and 3/);
  });

  test("are named as the image names them", () => {
    create("compat=1.1");
    // The feature name table that qemu-img writes begins with bit 0, "dirty bit": make that bit 9, "tsvm test".
    const fd = openSync(path, "r+");
    const head = Buffer.alloc(4096);
    readSync(fd, head, 0, 4096, 0);
    const at = head.indexOf("dirty bit");
    head[at - 1] = 9;
    head.write("tsvm\x1btest", at);
    writeSync(fd, head, 0, 4096, 0);
    closeSync(fd);
    setHeader(HEADER.incompatibleFeatures + 4, 1 << 9);
    expect(() => openDisk(path, READ_ONLY)).toThrow(/does not support: tsvm\?test/);
  });

  test("dirty: reference counts are repaired before anything is written", () => {
    for (const options of [
      "lazy_refcounts=on",
      "lazy_refcounts=on,cluster_size=512",
      "lazy_refcounts=on,cluster_size=4k,refcount_bits=64",
    ]) {
      create(options);
      qemuIo(path, "qcow2", "write -P 9 5M 100k");
      qemuImg("snapshot", "-c", "before", path);
      // qemu-io dies with its counts not written.
      const commands = [
        "write -P 1 0 3M",
        "write -P 2 7M 1M",
        "discard 1M 512k",
        "write -P 3 5M 64k",
        "flush",
        "abort",
      ];
      spawnSync("qemu-io", ["-f", "qcow2", "-d", "unmap", ...commands.flatMap((one) => ["-c", one]), path], {
        stdio: "ignore",
      });
      expect(imageInfo(path).image.qcow2!.dirty).toBe(true);
      expect(qemuCheck(path).corruptions).toBeGreaterThan(0);
      // To read it the counts are not needed.
      use(READ_ONLY, (access) => {
        expect(access.read(2 * 2 ** 20, 512)[0]).toBe(1);
      });
      expect(imageInfo(path).image.qcow2!.dirty).toBe(true);
      use(WRITABLE, (access) => {
        expect(access.read(2 * 2 ** 20, 512)[0]).toBe(1);
        expect(access.read(5 * 2 ** 20, 512)[0]).toBe(3);
        access.write(9 * 2 ** 20, Buffer.alloc(65_536, 4));
      });
      expect(imageInfo(path).image.qcow2!.dirty).toBe(false);
      expectClean();
      qemuIo(path, "qcow2", "read -P 1 2M 1M", "read -P 2 7M 1M", "read -P 0 1M 512k", "read -P 4 9M 64k");
      qemuImg("snapshot", "-a", "before", path);
      qemuIo(path, "qcow2", "read -P 9 5M 100k", "read -P 0 0 3M");
    }
  });

  test("dirty, and with more wrong than that: left to qemu-img", () => {
    create("lazy_refcounts=on,cluster_size=4k");
    qemuIo(path, "qcow2", "write -P 1 0 1M");
    setHeader(HEADER.incompatibleFeatures + 4, 1);
    const l1 = header(HEADER.l1TableOffset + 4);
    setHeader(header(l1 + 4) + 4, 0x7fff_f000); // an L2 entry that points behind the end of the file
    expect(() => openDisk(path, WRITABLE)).toThrow(
      /was not closed properly, and cannot be repaired: .* behind the end of the file/,
    );
    use(READ_ONLY, (access) => {
      expect(access.tryRead(0, 512)).toBe(5);
      expect(access.read(4096, 512)[0]).toBe(1);
    });
  });

  test("corrupt: read, but not written to", () => {
    create("compat=1.1");
    qemuIo(path, "qcow2", "write -P 1 0 64k");
    setHeader(HEADER.incompatibleFeatures + 4, 2);
    expect(() => openDisk(path, WRITABLE)).toThrow(/is marked as corrupt/);
    use(READ_ONLY, (access) => {
      expect(access.read(0, 512)[0]).toBe(1);
    });
  });

  test("bitmaps: consistent no longer once something is written, and not before", () => {
    create("compat=1.1");
    qemuImg("bitmap", "--add", path, "changes");
    expect(imageInfo(path).image.qcow2!.bitmaps).toEqual({ count: 1, consistent: true });
    use(WRITABLE, (access) => {
      expect(access.read(0, 512)[0]).toBe(0);
    });
    expect(imageInfo(path).image.qcow2!.bitmaps.consistent).toBe(true);
    use(WRITABLE, (access) => {
      access.write(0, Buffer.alloc(512, 1));
    });
    expect(imageInfo(path).image.qcow2!.bitmaps.consistent).toBe(false);
    const { corruptions, errors } = qemuCheck(path);
    expect({ corruptions, errors }).toEqual({ corruptions: 0, errors: 0 });
  });

  test("read-only: nothing is written, whatever is asked", () => {
    create("compat=1.1");
    use(READ_ONLY, (access) => {
      expect(access.tryWrite(0, Buffer.alloc(512, 1))).toBe(30);
      expect(access.disk.discard(0, 65_536)).toBe(30);
      expect(access.disk.writeZeroes(0, 65_536, true)).toBe(30);
      expect(access.disk.flush()).toBe(0);
    });
  });

  test("an image that has been cut short: an error where it ends, and no zeros in place of data", () => {
    create("cluster_size=4k", "1M");
    qemuIo(path, "qcow2", "write -P 1 0 1M");
    truncateSync(path, 600_000);
    use(READ_ONLY, (access) => {
      expect(access.read(0, 512)[0]).toBe(1);
      expect(access.tryRead(1_000_000 - (1_000_000 % 512), 512)).toBe(5);
    });
  });

  test("sizes that no guest can have are refused", () => {
    create("compat=1.1", "0");
    expect(() => openDisk(path, READ_ONLY)).toThrow(/has no size/);
    create("compat=1.1");
    setHeader(HEADER.size + 4, 1000);
    expect(() => openDisk(path, READ_ONLY)).toThrow(/size of 1000 bytes is not a multiple/);
    create("compat=1.1");
    setHeader(HEADER.size, 0x100);
    expect(() => openDisk(path, READ_ONLY)).toThrow(/L1 table has 1 entries and needs/);
    setHeader(HEADER.size, 0x10_0000);
    expect(() => openDisk(path, READ_ONLY)).toThrow(/virtual size: .* is out of range|too large/);
  });

  test("discarded space goes back to the host", () => {
    create("cluster_size=64k");
    use(WRITABLE, (access) => {
      access.write(0, Buffer.alloc(4 * 2 ** 20, 1));
      access.flush();
      const before = imageInfo(path).image.diskUsage!;
      access.discard(0, 4 * 2 ** 20);
      access.flush();
      expect(imageInfo(path).image.diskUsage!).toBeLessThan(before - 3 * 2 ** 20);
      // And is used again: the file does not grow.
      const { fileSize } = imageInfo(path).image;
      access.write(8 * 2 ** 20, Buffer.alloc(3 * 2 ** 20, 2));
      access.flush();
      access.write(12 * 2 ** 20, Buffer.alloc(3 * 2 ** 20, 2));
      access.flush();
      expect(imageInfo(path).image.fileSize).toBeLessThan(fileSize + 5 * 2 ** 20);
    });
    expectClean();
  });

  test("a fresh cluster costs at most two writes beside its data, even if each is flushed", () => {
    for (const options of ["cluster_size=64k", "cluster_size=4k", "cluster_size=2M,refcount_bits=1"]) {
      create(options, "1G");
      const fd = openSync(path, "r+");
      const events: FileEvent[] = [];
      const file = new RecordingFile({ path, fd, size: fstatSync(fd).size, growable: true }, (event) =>
        events.push(event),
      );
      const header = readHeader(file);
      const access = new DiskAccess(new Qcow2Disk({ file, header, readOnly: false }));
      const count = (kind: FileEvent["kind"]): number => events.filter((event) => event.kind === kind).length;
      const CLUSTERS = 400;
      for (let cluster = 0; cluster < CLUSTERS; cluster++) {
        access.write(cluster * header.clusterSize, Buffer.alloc(4096, 1));
        access.flush();
      }
      const [writes, syncs] = [count("write") / CLUSTERS, count("sync") / CLUSTERS];
      // Data, L2 entry; one barrier. Reference counts come by the reserve, tables by the hundreds.
      expect(writes).toBeLessThan(2.5);
      expect(syncs).toBeLessThan(1.5);
      events.length = 0;
      for (let cluster = 0; cluster < CLUSTERS; cluster++) {
        access.write((CLUSTERS + cluster) * header.clusterSize, Buffer.alloc(4096, 1));
      }
      access.flush();
      expect(count("write")).toBeLessThan(1.1 * CLUSTERS);
      access.close();
      closeSync(fd);
      expectClean();
    }
  });

  test("what tsvm wrote QEMU reads, pattern by pattern", () => {
    create("cluster_size=16k");
    use(WRITABLE, (access) => {
      for (let step = 0; step < 16; step++)
        access.write(step * 2 ** 20 + 512 * step, Buffer.alloc(300_032, step + 1));
    });
    qemuIo(
      path,
      "qcow2",
      ...Array.from({ length: 16 }, (_, step) => `read -P ${step + 1} ${step * 2 ** 20 + 512 * step} 300032`),
    );
    expectClean();
  });

  test("info says what qemu-img says", () => {
    const base = join(directory, "base.raw");
    writeFileSync(base, Buffer.alloc(2 ** 20));
    rmSync(path);
    qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "-o",
      "cluster_size=8k,refcount_bits=8,lazy_refcounts=on,compression_type=zstd",
      "-b",
      "base.raw",
      "-F",
      "raw",
      path,
      "5M",
    );
    qemuImg("snapshot", "-c", "fresh", path);
    qemuImg("snapshot", "-c", "and again", path);
    const theirs = JSON.parse(qemuImg("info", "--output=json", path)) as Record<string, never> & {
      snapshots: { id: string; name: string; "date-sec": number }[];
      "format-specific": { data: Record<string, unknown> };
    };
    const { image, warnings } = imageInfo(path);
    const ours = image.qcow2!;
    expect(warnings).toEqual([]);
    expect(image.format).toBe(theirs.format);
    expect(image.virtualSize).toBe(theirs["virtual-size"]);
    expect(image.diskUsage).toBe(theirs["actual-size"]);
    expect(ours.clusterSize).toBe(theirs["cluster-size"]);
    expect(ours.backingFile).toBe(theirs["backing-filename"]);
    expect(ours.backingFormat).toBe(theirs["backing-filename-format"]);
    const { data } = theirs["format-specific"];
    expect(ours.version).toBe(data.compat === "1.1" ? 3 : 2);
    expect(ours.refcountBits).toBe(data["refcount-bits"]);
    expect(ours.lazyRefcounts).toBe(data["lazy-refcounts"]);
    expect(ours.compression).toBe(data["compression-type"]);
    expect(ours.corrupt).toBe(data.corrupt);
    expect(ours.snapshots.map(({ id, name, seconds }) => ({ id, name, seconds }))).toEqual(
      theirs.snapshots.map((one) => ({ id: one.id, name: one.name, seconds: one["date-sec"] })),
    );
    expect(ours.snapshots[0]!.diskSize).toBe(5 * 2 ** 20);
    expect(image.backing).toMatchObject({ format: "raw", virtualSize: 2 ** 20, backing: undefined });
    expect(qemuCompare(path, "qcow2", base, "raw")).toBeUndefined(); // what is beyond the base is zeros
  });
});
