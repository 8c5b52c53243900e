/** A block device whose requests are finished later, with a driver that does not wait for them. */
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { suite } from "../../../test/support/needs.ts";
import { IoEngine } from "../../disk/async/io-engine.ts";
import { rawDiskOn } from "../../disk/testing/raw-disk.ts";
import { bundleForNode } from "../../ffi/testing/bundle.ts";
import { IO_URING } from "../../ffi/testing/io-uring.ts";
import { GuestMemory } from "../../kvm/guest-memory.ts";
import { RateLimiter } from "../rate-limiter.ts";
import { header, IN, OUT, sectors } from "../testing/blk-request.ts";
import { type DriverQueue, Rig, type Segment } from "../testing/driver.ts";
import { BlkCounters } from "./blk-counters.ts";
import { blkModel, VirtioBlk } from "./blk.ts";
import { R } from "./mmio.ts";
import { W } from "./state.ts";

const SECTOR = 512;
const SECTORS = 256;
const SIZE = SECTORS * SECTOR;

const directory = mkdtempSync(join(tmpdir(), "tsvm-blk-async-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

suite("a block device that finishes later", [IO_URING], () => {
  const path = join(directory, "disk");
  const content = sectors(SECTORS, 3);
  let memory: GuestMemory;
  let engine: IoEngine;
  let fd = -1;
  beforeEach(() => {
    writeFileSync(path, content);
    fd = openSync(path, "r+");
    memory = GuestMemory.create(16 * 2 ** 20);
    engine = IoEngine.create()!;
    return () => {
      engine.drain();
      engine.close();
      memory.release();
      closeSync(fd);
    };
  });

  interface Bench {
    readonly rig: Rig<VirtioBlk>;
    readonly queue: DriverQueue;
    readonly counters: BlkCounters;
    /** Delays in ms after which the device wants its queue to run. */
    readonly later: number[];
  }
  const bench = (limiter?: RateLimiter, now: () => number = () => 0): Bench => {
    const counters = new BlkCounters();
    const later: number[] = [];
    const rig = new Rig(
      blkModel({ size: SIZE, readOnly: false }),
      memory,
      (state) =>
        new VirtioBlk(state, memory, rawDiskOn(fd, SIZE), {
          readOnly: false,
          serial: "",
          engine,
          limiter,
          counters,
          now,
          runLater: (delay) => later.push(delay),
        }),
    );
    return { rig, queue: rig.bringUp()[0]!, counters, later };
  };
  const read = (rig: Rig, sector: number, bytes: number): { segments: Segment[]; at: number } => {
    const data = rig.place(Buffer.alloc(bytes, 0xaa));
    const status = rig.place(Buffer.from([0xaa]));
    const segments = [
      rig.place(header(IN, sector)),
      { ...data, writable: true },
      { ...status, writable: true },
    ];
    return { segments, at: data.gpa };
  };
  const inFlight = (rig: Rig): number => rig.state.words[W.IN_FLIGHT]!;

  it("answers each with its own data, in whatever order", () => {
    const { rig, queue, counters } = bench();
    const asked = Array.from({ length: 60 }, (_, index) => {
      const { segments, at } = read(rig, index * 4, 2048);
      return { head: queue.submit(segments), at, sector: index * 4 };
    });
    rig.run();
    expect(inFlight(rig)).toBe(60);
    expect(queue.takeUsed()).toEqual([]);
    engine.drain();
    expect(inFlight(rig)).toBe(0);
    const used = queue.takeUsed();
    expect(used.map(({ id }) => id).sort()).toEqual(asked.map(({ head }) => head).sort());
    expect(used.every(({ length }) => length === 2049)).toBe(true);
    for (const { at, sector } of asked) {
      const seen = Buffer.from(rig.bytes.subarray(at, at + 2049));
      expect(
        seen.equals(Buffer.concat([content.subarray(sector * 512, sector * 512 + 2048), Buffer.of(0)])),
      ).toBe(true);
    }
    expect(rig.takeInterrupts()).toBeGreaterThan(0);
    expect(counters.counts).toMatchObject({ reads: 60, readBytes: 60 * 2048, errors: 0 });
  });

  it("takes no more at once than its queue has room for, whatever the driver offers", () => {
    const { rig, queue, later } = bench();
    const { segments } = read(rig, 0, 512);
    const head = queue.submit(segments);
    rig.run();
    // The same chain again and again, which no driver may do.
    for (let more = 0; more < 2; more++) {
      for (let one = 0; one < 200; one++) queue.offer(head);
      rig.run();
    }
    expect(inFlight(rig)).toBe(256);
    engine.drain();
    expect(later).toEqual([0]);
    rig.run();
    engine.drain();
    expect(inFlight(rig)).toBe(0);
    expect(rig.needsReset).toBe(false);
  });

  it("drops what belongs to a driver that has gone, and writes it nowhere", () => {
    const { rig, queue } = bench();
    const { segments } = read(rig, 0, 512);
    queue.submit(segments);
    rig.run();
    expect(inFlight(rig)).toBe(1);
    // As a vCPU does it, but for the waiting, for which this thread would be in its own way.
    rig.state.words[W.STATUS] = 0;
    Atomics.add(rig.state.words, W.EPOCH, 1);
    rig.takeInterrupts();
    engine.drain();
    expect(inFlight(rig)).toBe(0);
    expect(queue.usedIndex).toBe(0);
    expect(rig.bytes[segments[2]!.gpa]).toBe(0xaa);
    expect(rig.takeInterrupts()).toBe(0);
  });

  let bundle: { path: string; remove: () => void };
  beforeAll(async () => {
    bundle = await bundleForNode(new URL("../testing/reset-worker.ts", import.meta.url));
  });
  afterAll(() => bundle.remove());

  it.each(["status", "queue"] as const)(
    "a vCPU that resets (%s) waits for what is under way",
    async (how) => {
      const { rig, queue } = bench();
      queue.submit(read(rig, 0, 512).segments);
      rig.run();
      expect(inFlight(rig)).toBe(1);
      const progress = new Int32Array(new SharedArrayBuffer(4));
      const worker = new Worker(bundle.path, {
        workerData: { model: rig.state.model, words: rig.state.words, progress, how },
      });
      const exit = once(worker, "exit");
      while (Atomics.load(progress, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(Atomics.load(progress, 0)).toBe(1);
      engine.drain();
      expect(await exit).toEqual([0]);
      expect(Atomics.load(progress, 0)).toBe(2);
      expect(queue.usedIndex).toBe(0);
      expect(rig.get(R.Status) === 0).toBe(how === "status");
    },
  );

  it("waits for its rate limit, and goes on when it may", () => {
    let now = 0;
    const limiter = new RateLimiter({ write: { operationsPerSecond: 100, operationsBurst: 2 } }, 0);
    const { rig, queue, counters, later } = bench(limiter, () => now);
    const data = sectors(1, 77);
    for (let sector = 0; sector < 4; sector++) {
      const status = { ...rig.place(Buffer.of(0xaa)), writable: true };
      queue.submit([rig.place(header(OUT, sector)), rig.place(data), status]);
    }
    rig.run();
    engine.drain();
    expect(queue.takeUsed()).toHaveLength(2);
    expect(later).toEqual([10]);
    now = 10;
    rig.run();
    expect(queue.takeUsed()).toHaveLength(1);
    now = 25;
    rig.run();
    expect(queue.takeUsed()).toHaveLength(1);
    expect(
      readFileSync(path)
        .subarray(0, 4 * SECTOR)
        .equals(Buffer.concat([data, data, data, data])),
    ).toBe(true);
    expect(counters.counts).toMatchObject({ writes: 4, writtenBytes: 4 * SECTOR, throttled: 2 });
  });
});
