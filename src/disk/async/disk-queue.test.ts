/** Many requests at once against an array of bytes, on real files through a real ring; qemu-img judges the images. */
import { closeSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { suite } from "../../../test/support/needs.ts";
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { BlockBackend } from "../backend.ts";
import { openDisk } from "../open.ts";
import { buildDisk } from "../plan.ts";
import { DiskAccess } from "../testing/disk-access.ts";
import { qemuCheck, QEMU_IMG, qemuImg } from "../testing/qemu.ts";
import { Random } from "../testing/random.ts";
import { rawDiskOn } from "../testing/raw-disk.ts";
import { IO_URING } from "../../ffi/testing/io-uring.ts";
import { DiskQueue } from "./disk-queue.ts";
import { DiskRequest, DISCARD, FLUSH, READ, type RequestKind, WRITE, WRITE_ZEROES } from "./disk-request.ts";
import { IoEngine } from "./io-engine.ts";

const SECTOR = 512;
const SIZE = 2 * 2 ** 20;
const DEPTH = 24;
const ROUNDS = 900;
const LARGEST = 160 * 1024;

const directory = mkdtempSync(join(tmpdir(), "tsvm-queue-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** A request with memory of its own, and the range of the disk that nobody else may touch meanwhile. */
class Slot extends DiskRequest {
  readonly memory = allocateNative(LARGEST + 4096);
  readonly bytes = Buffer.from(this.memory.buffer);
  start = 0;
  end = 0;
  skew = 0;
  busy = false;
  constructor() {
    super(64);
  }
}

/** Keeps {@link DEPTH} requests going; every answer is compared with a model. */
function exercise(
  disk: BlockBackend,
  engine: IoEngine | undefined,
  seed: string,
): { seen: Record<string, number> } {
  const random = new Random(seed);
  const model = new DiskAccess(disk).content();
  const slots = Array.from({ length: DEPTH }, () => new Slot());
  const seen: Record<string, number> = { later: 0, atOnce: 0 };
  /** Ranges that may be zeros or as before. */
  const finish = (slot: Slot): void => {
    slot.busy = false;
    expect(slot.errno).toBe(0);
    const { start, end, skew, bytes } = slot;
    switch (slot.kind) {
      case READ:
        expect(bytes.subarray(skew, skew + end - start).equals(model.subarray(start, end))).toBe(true);
        break;
      case WRITE:
        bytes.copy(model, start, skew, skew + end - start);
        break;
      case WRITE_ZEROES:
        model.fill(0, start, end);
        break;
      case DISCARD:
        // What it left there is read when nothing else goes on.
        discarded.push([start, end]);
    }
  };
  let discarded: [number, number][] = [];
  const queue = new DiskQueue<Slot>(disk, engine, finish);
  const settle = (): void => {
    engine?.drain();
    expect(slots.some(({ busy }) => busy)).toBe(false);
    for (const [start, end] of discarded) new DiskAccess(disk).read(start, end - start).copy(model, start);
    discarded = [];
  };
  for (let round = 0; round < ROUNDS; round++) {
    const slot = slots.find(({ busy }) => !busy);
    if (slot === undefined || random.below(200) === 0) {
      settle();
      continue;
    }
    const luck = random.below(100);
    const kind: RequestKind =
      luck < 40 ? READ : luck < 80 ? WRITE : luck < 88 ? FLUSH : luck < 94 ? WRITE_ZEROES : DISCARD;
    const length = SECTOR * (1 + random.below(random.below(8) === 0 ? LARGEST / SECTOR : 24));
    const start = SECTOR * random.below((SIZE - length) / SECTOR);
    const end = start + length;
    const conflict =
      slots.some((other) => other.busy && other.kind !== FLUSH && other.start < end && start < other.end) ||
      discarded.some(([from, to]) => from < end && start < to);
    if (kind !== FLUSH && conflict) continue;
    slot.kind = kind;
    slot.start = kind === FLUSH ? 0 : start;
    slot.end = kind === FLUSH ? 0 : end;
    slot.offset = start;
    slot.ranges = [{ offset: start, length }];
    slot.unmap = random.below(2) === 0;
    // Sometimes memory that O_DIRECT does not take as it is.
    slot.skew = random.below(4) === 0 ? 1 + random.below(500) : 0;
    slot.vector.clear();
    if (kind === READ || kind === WRITE) {
      if (kind === WRITE) random.fill(slot.bytes.subarray(slot.skew, slot.skew + length));
      const cut = SECTOR * random.below(length / SECTOR);
      slot.vector.add(slot.memory.address + slot.skew, cut);
      slot.vector.add(slot.memory.address + slot.skew + cut, length - cut);
    }
    slot.busy = true;
    if (queue.start(slot)) {
      seen.atOnce! += 1;
      finish(slot);
    } else seen.later! += 1;
    if (random.below(6) === 0) engine?.collect();
  }
  settle();
  expect(new DiskAccess(disk).content().equals(model)).toBe(true);
  return { seen };
}

const formats: Record<string, (path: string) => void> = {
  raw: (path) => {
    writeFileSync(path, Buffer.alloc(SIZE, "raw"));
  },
  qcow2: (path) => {
    qemuImg("create", "-q", "-f", "qcow2", path, String(SIZE));
  },
  "qcow2, small clusters, over a backing file": (path) => {
    writeFileSync(`${path}.base`, Buffer.alloc(SIZE, "base"));
    qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", `${path}.base`, "-F", "raw", path);
  },
  "qcow2, compressed, with a snapshot": (path) => {
    writeFileSync(`${path}.raw`, Buffer.alloc(SIZE, "compressible"));
    qemuImg("convert", "-q", "-c", "-f", "raw", "-O", "qcow2", `${path}.raw`, path);
    qemuImg("snapshot", "-c", "before", path);
  },
};

suite("a disk with many requests at once", [QEMU_IMG, IO_URING], () => {
  describe.each(Object.keys(formats))("%s", (name) => {
    it.each(["writeback", "none", "unsafe"] as const)("cache=%s is an array of bytes", (cache) => {
      const path = join(directory, `${name.replaceAll(/\W/g, "-")}-${cache}`);
      formats[name]!(path);
      const { plan, fds } = openDisk(path, { readOnly: false, ephemeral: false, cache });
      const disk = buildDisk(plan);
      const engine = IoEngine.create()!;
      try {
        const { seen } = exercise(disk, engine, `${name} ${cache}`);
        expect(seen.later).toBeGreaterThan(50);
        expect(disk.close?.() ?? 0).toBe(0);
      } finally {
        engine.drain();
        engine.close();
        for (const fd of fds) closeSync(fd);
      }
      if (plan.layers[0]!.format === "qcow2") {
        expect(qemuCheck(path)).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
      }
    });
  });

  it("without a ring everything is done at once", () => {
    const path = join(directory, "plain");
    writeFileSync(path, Buffer.alloc(SIZE, 7));
    const { plan, fds } = openDisk(path, { readOnly: false, ephemeral: false, format: "raw" });
    const { seen } = exercise(buildDisk(plan), undefined, "plain");
    expect(seen.later).toBe(0);
    expect(readFileSync(path).length).toBe(SIZE);
    for (const fd of fds) closeSync(fd);
  });

  it("errors are those of the file, whether later or at once", () => {
    const engine = IoEngine.create()!;
    const done: number[] = [];
    const queue = new DiskQueue(rawDiskOn(12345, SIZE), engine, ({ errno }) => done.push(errno));
    for (const kind of [READ, FLUSH] as const) {
      const slot = new Slot();
      slot.kind = kind;
      slot.vector.add(slot.memory.address, SECTOR);
      expect(queue.start(slot)).toBe(false);
    }
    engine.drain();
    expect(done).toEqual([9, 9]); // EBADF
    const write = new Slot();
    write.kind = WRITE;
    write.vector.add(write.memory.address, SECTOR);
    expect(queue.start(write)).toBe(true);
    expect(write.errno).toBe(9);
    engine.close();
  });

  it("a file that has shrunk under a raw disk is an error, and no zeros", () => {
    const path = join(directory, "shrunk");
    writeFileSync(path, Buffer.alloc(SECTOR, 7));
    const { plan, fds } = openDisk(path, { readOnly: true, ephemeral: false, format: "raw" });
    const engine = IoEngine.create()!;
    const done: number[] = [];
    const queue = new DiskQueue(rawDiskOn(plan.layers[0]!.fd, SIZE), engine, ({ errno }) => done.push(errno));
    const slot = new Slot();
    slot.vector.add(slot.memory.address, 2 * SECTOR);
    expect(queue.start(slot)).toBe(false);
    engine.drain();
    expect(done).toEqual([5]); // EIO
    engine.close();
    for (const fd of fds) closeSync(fd);
  });
});
