/** Many requests at once against an array of bytes, on real files through a real ring; qemu-img judges the images. */
import { closeSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { suite } from "../../../test/support/needs.ts";
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { BlockBackend } from "../backend.ts";
import { openDisk } from "../open.ts";
import { buildDisk } from "../plan.ts";
import { DiskAccess } from "../testing/disk-access.ts";
import { LateRing } from "../testing/late-ring.ts";
import { qemuCheck, QEMU_IMG, qemuImg } from "../testing/qemu.ts";
import { Random } from "../testing/random.ts";
import { rawDiskOn } from "../testing/raw-disk.ts";
import { IO_URING } from "../../ffi/testing/io-uring.ts";
import { DiskQueue } from "./disk-queue.ts";
import { DiskRequest, DISCARD, FLUSH, READ, type RequestKind, WRITE, WRITE_ZEROES } from "./disk-request.ts";
import { IoEngine } from "./io-engine.ts";

const SECTOR = 512;
const SIZE = 768 * 1024;
const DEPTH = 24;
const ROUNDS = 3000;
const LARGEST = 96 * 1024;
/** Discards cover whole clusters of small images. */
const CLUSTER = 4096;

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

/**
 * Keeps {@link DEPTH} requests going; every answer is compared with a model. Sometimes a driver does what it must not: it
 * discards or zeroes what is being read or written. Then anything may stand there, but everywhere else what should.
 */
class Exercise {
  later = 0;
  readonly #disk: BlockBackend;
  readonly #engine: IoEngine | undefined;
  readonly #queue: DiskQueue<Slot>;
  readonly #random: Random;
  readonly #model: Buffer;
  readonly #slots = Array.from({ length: DEPTH }, () => new Slot());
  /** By sector: whether its content is not known until nothing is under way. */
  readonly #unknown = new Uint8Array(SIZE / SECTOR);

  constructor(disk: BlockBackend, engine: IoEngine | undefined, seed: string) {
    this.#disk = disk;
    this.#engine = engine;
    this.#random = new Random(seed);
    this.#model = new DiskAccess(disk).content();
    this.#queue = new DiskQueue<Slot>(disk, engine, (slot) => this.#finish(slot));
  }

  run(): void {
    for (let round = 0; round < ROUNDS; round++) {
      const slot = this.#slots.find(({ busy }) => !busy);
      if (slot === undefined || this.#random.below(400) === 0) this.#settle();
      else if (this.#prepare(slot)) this.#start(slot);
      if (this.#random.below(16) === 0) this.#engine?.collect();
    }
    this.#settle();
    expect(new DiskAccess(this.#disk).content().equals(this.#model)).toBe(true);
  }

  /** Fills in a random request. False if it is one that would make the answers of others random, too. */
  #prepare(slot: Slot): boolean {
    const random = this.#random;
    const luck = random.below(100);
    const kind: RequestKind =
      luck < 25 ? READ : luck < 65 ? WRITE : luck < 80 ? FLUSH : luck < 90 ? WRITE_ZEROES : DISCARD;
    const unit = kind === WRITE_ZEROES || kind === DISCARD ? CLUSTER : SECTOR;
    const most = (random.below(8) === 0 ? LARGEST : 24 * SECTOR) / unit;
    const length = kind === FLUSH ? 0 : unit * (1 + random.below(most));
    slot.kind = kind;
    slot.start = unit * random.below((SIZE - length) / unit + 1);
    slot.end = slot.start + length;
    const others = this.#slots.filter(({ busy, start, end }) => busy && start < slot.end && slot.start < end);
    if (others.length > 0) {
      if (kind === READ || kind === WRITE) return false;
      for (const { start, end } of [slot, ...others]) this.#forget(start, end);
    }
    if (kind === DISCARD) this.#forget(slot.start, slot.end);
    slot.offset = slot.start;
    slot.ranges = [{ offset: slot.start, length }];
    slot.unmap = random.below(2) === 0;
    // Sometimes memory that O_DIRECT does not take as it is.
    slot.skew = random.below(4) === 0 ? 1 + random.below(500) : 0;
    slot.vector.clear();
    if (kind !== READ && kind !== WRITE) return true;
    if (kind === WRITE) random.fill(slot.bytes.subarray(slot.skew, slot.skew + length));
    const cut = SECTOR * random.below(length / SECTOR);
    slot.vector.add(slot.memory.address + slot.skew, cut);
    slot.vector.add(slot.memory.address + slot.skew + cut, length - cut);
    return true;
  }

  #start(slot: Slot): void {
    slot.busy = true;
    if (this.#queue.start(slot)) this.#finish(slot);
    else this.later += 1;
  }

  #finish(slot: Slot): void {
    slot.busy = false;
    expect(slot.errno).toBe(0);
    const { kind, start, end, skew, bytes } = slot;
    if (kind === READ) {
      for (let at = start; at < end; at += SECTOR) {
        if (this.#unknown[at / SECTOR] === 1) continue;
        const from = skew + at - start;
        if (this.#model.compare(bytes, from, from + SECTOR, at, at + SECTOR) === 0) continue;
        throw new Error(`the sector at ${at} has been read wrongly`);
      }
    } else if (kind === WRITE) bytes.copy(this.#model, start, skew, skew + end - start);
    else if (kind === WRITE_ZEROES) this.#model.fill(0, start, end);
  }

  #forget(start: number, end: number): void {
    this.#unknown.fill(1, start / SECTOR, end / SECTOR);
  }

  /** Waits until nothing is under way, and looks at what was not known. */
  #settle(): void {
    this.#engine?.drain();
    expect(this.#slots.some(({ busy }) => busy)).toBe(false);
    const seen = new DiskAccess(this.#disk).content();
    for (let at = 0; at < SIZE; at += SECTOR) {
      if (this.#unknown[at / SECTOR] === 1) seen.copy(this.#model, at, at, at + SECTOR);
    }
    this.#unknown.fill(0);
    expect(seen.equals(this.#model)).toBe(true);
  }
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
  vi.setConfig({ testTimeout: 60_000 });
  describe.each(Object.keys(formats))("%s", (name) => {
    it.each([
      ["writeback", "io_uring"],
      ["none", "io_uring"],
      ["unsafe", "io_uring"],
      ["none", "the latest kernel there could be"],
    ] as const)("cache=%s, by %s, is an array of bytes", (cache, kernel) => {
      const late = kernel !== "io_uring";
      const path = join(directory, `${name.replaceAll(/\W/g, "-")}-${cache}-${late}`);
      formats[name]!(path);
      const { plan, fds } = openDisk(path, { readOnly: false, ephemeral: false, cache });
      const disk = buildDisk(plan);
      const engine = late ? new IoEngine(new LateRing(new Random(name))) : IoEngine.create()!;
      try {
        const exercise = new Exercise(disk, engine, `${name} ${cache}`);
        exercise.run();
        expect(exercise.later).toBeGreaterThan(50);
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
    const exercise = new Exercise(buildDisk(plan), undefined, "plain");
    exercise.run();
    expect(exercise.later).toBe(0);
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
