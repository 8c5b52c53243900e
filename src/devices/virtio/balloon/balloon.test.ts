import { fstatSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GuestMemory } from "../../../kvm/guest-memory.ts";
import { Rig } from "../../testing/driver.ts";
import { R } from "../mmio.ts";
import { balloonCounters } from "./balloon-counters.ts";
import {
  ACTUAL_WORD,
  balloonModel,
  DEFLATE_QUEUE,
  INFLATE_QUEUE,
  REPORTING_QUEUE,
  REPORTING_QUEUE_OF_SPECIFICATION,
  STATS_QUEUE,
  VIRTIO_BALLOON_F_PAGE_REPORTING,
  VIRTIO_BALLOON_F_STATS_VQ,
  VirtioBalloon,
} from "./balloon.ts";
import { GuestStatistics } from "./guest-statistics.ts";

const MiB = 2 ** 20;
const PAGE = 4096;
const SIZE = 32 * MiB;
const VERSION_1 = 1n << 32n;

let memory: GuestMemory;
let counters: ReturnType<typeof balloonCounters>;
let statistics: GuestStatistics;
let rig: Rig<VirtioBalloon>;
let time: number;

function build(options: Partial<Parameters<typeof balloonModel>[0]> = {}): void {
  const model = balloonModel({ pages: 0, reporting: true, deflateOnOom: true, ...options });
  counters = balloonCounters();
  statistics = new GuestStatistics();
  const surroundings = { counters, statistics, now: () => time };
  rig = new Rig(model, memory, (state) => new VirtioBalloon(state, memory, surroundings));
}

beforeEach(() => {
  memory = GuestMemory.create(SIZE);
  time = 1000;
  build();
});

afterEach(() => memory.release());

const resident = (): number => fstatSync(memory.plan.fd).blocks * 512;

/** A page full of something, so that the host has to have it. */
function touch(page: number, count = 1): void {
  memory.viewOf(page * PAGE, count * PAGE).fill(0xa5);
}

function isZero(page: number): boolean {
  return memory.read(page * PAGE, PAGE).every((byte) => byte === 0);
}

function pageNumbers(...pages: number[]): Buffer {
  const bytes = Buffer.alloc(pages.length * 4);
  for (const [index, page] of pages.entries()) bytes.writeUInt32LE(page, index * 4);
  return bytes;
}

function statisticsBuffer(...figures: [tag: number, value: bigint][]): Buffer {
  return Buffer.concat(
    figures.map(([tag, value]) => {
      const bytes = Buffer.alloc(10);
      bytes.writeUInt16LE(tag);
      bytes.writeBigUInt64LE(value, 2);
      return bytes;
    }),
  );
}

describe("inflating", () => {
  it("gives pages back to the host, which read as zeros", () => {
    const inflate = rig.bringUp()[INFLATE_QUEUE]!;
    touch(5000, 100);
    const before = resident();
    inflate.submit([rig.place(pageNumbers(5000, 5001, 5003, 5050))]);
    rig.run(INFLATE_QUEUE);
    expect(inflate.takeUsed()).toEqual([{ id: 0, length: 0 }]);
    expect(before - resident()).toBe(4 * PAGE);
    expect([4999, 5000, 5001, 5003, 5050].every(isZero)).toBe(true);
    expect([5002, 5004, 5049, 5051].some(isZero)).toBe(false);
    expect(counters.counts).toMatchObject({ inflatedBytes: 4 * PAGE, errors: 0 });
    expect(rig.takeInterrupts()).toBe(1);
  });

  it("takes page numbers that are spread over buffers, cut anywhere", () => {
    const inflate = rig.bringUp()[INFLATE_QUEUE]!;
    touch(5000, 8);
    const bytes = pageNumbers(5000, 5002, 5004);
    inflate.submit([
      rig.place(bytes.subarray(0, 3)),
      rig.place(bytes.subarray(3, 9)),
      rig.place(bytes.subarray(9)),
    ]);
    rig.run(INFLATE_QUEUE);
    expect([5000, 5002, 5004].every(isZero)).toBe(true);
    expect([5001, 5003, 5005].some(isZero)).toBe(false);
  });

  it("does a long list in turns, so that other devices have theirs", () => {
    const inflate = rig.bringUp()[INFLATE_QUEUE]!;
    const pages = Array.from({ length: 1000 }, (_, index) => 5000 + index);
    touch(5000, 1001);
    inflate.submit([rig.place(pageNumbers(...pages))]);
    let turns = 1;
    while (rig.backend.run(INFLATE_QUEUE)) {
      expect(inflate.usedIndex).toBe(0);
      turns++;
    }
    expect(turns).toBe(4);
    expect(pages.every(isZero)).toBe(true);
    expect(isZero(6000)).toBe(false);
    expect(counters.counts.inflatedBytes).toBe(1000 * PAGE);
  });

  it("leaves alone what is not RAM, and takes the rest of the list", () => {
    const inflate = rig.bringUp()[INFLATE_QUEUE]!;
    const last = SIZE / PAGE - 1;
    touch(last);
    touch(5000);
    inflate.submit([rig.place(pageNumbers(last, last + 1, last + 2, 0xffff_ffff, 0xd_0000, 5000))]);
    rig.run(INFLATE_QUEUE);
    expect(isZero(last) && isZero(5000)).toBe(true);
    expect(counters.counts.errors).toBe(4);
    expect(fstatSync(memory.plan.fd).size).toBe(SIZE);
    expect(rig.needsReset).toBe(false);
  });

  it("counts the same page once as often as it comes, and frees it once", () => {
    const inflate = rig.bringUp()[INFLATE_QUEUE]!;
    touch(5000);
    inflate.submit([rig.place(pageNumbers(...Array.from({ length: 200 }, () => 5000)))]);
    rig.run(INFLATE_QUEUE);
    expect(isZero(5000)).toBe(true);
    expect(counters.counts).toMatchObject({ inflatedBytes: 200 * PAGE, errors: 0 });
  });

  it("asks for a reset when the guest has given its own rings away", () => {
    const inflate = rig.bringUp()[INFLATE_QUEUE]!;
    // A second turn first: the index in the ring falls behind ours then.
    inflate.submit([rig.place(pageNumbers(5000))]);
    rig.run(INFLATE_QUEUE);
    const rings = [inflate.desc, inflate.avail, inflate.used].map((gpa) => Math.floor(gpa / PAGE));
    inflate.submit([rig.place(pageNumbers(...rings))]);
    rig.run(INFLATE_QUEUE);
    expect(rig.needsReset).toBe(true);
    expect(rig.backend.run(INFLATE_QUEUE)).toBe(false);
  });

  it("takes what is empty, too short, or to be written for no pages at all", () => {
    const inflate = rig.bringUp()[INFLATE_QUEUE]!;
    inflate.submit([{ gpa: 0x2000, length: 0 }]);
    inflate.submit([rig.place(Buffer.from([1, 2, 3]))]);
    inflate.submit([{ gpa: 0x2000, length: 4096, writable: true }]);
    rig.run(INFLATE_QUEUE);
    expect(inflate.takeUsed()).toHaveLength(3);
    expect(counters.counts.inflatedBytes).toBe(0);
  });

  it("forgets half a list when the driver resets the device", () => {
    const inflate = rig.bringUp()[INFLATE_QUEUE]!;
    inflate.submit([rig.place(pageNumbers(...Array.from({ length: 600 }, (_, index) => 5000 + index)))]);
    expect(rig.backend.run(INFLATE_QUEUE)).toBe(true);
    rig.set(R.Status, 0);
    rig.backend.synchronize();
    const again = rig.bringUp()[INFLATE_QUEUE]!;
    touch(7000);
    again.submit([rig.place(pageNumbers(7000))]);
    rig.run(INFLATE_QUEUE);
    expect(isZero(7000)).toBe(true);
  });
});

describe("deflating", () => {
  it("gives the list back at once, however long it is", () => {
    const deflate = rig.bringUp()[DEFLATE_QUEUE]!;
    touch(5000);
    deflate.submit([{ gpa: 0, length: SIZE }]);
    rig.run(DEFLATE_QUEUE, 0);
    expect(deflate.takeUsed()).toHaveLength(1);
    expect(isZero(5000)).toBe(false);
    expect(counters.counts.deflatedBytes).toBe((SIZE / 4) * PAGE);
  });
});

describe("reporting", () => {
  it.each([
    ["Linux", REPORTING_QUEUE],
    ["the specification", REPORTING_QUEUE_OF_SPECIFICATION],
  ])("takes free memory from the queue that %s has for it", (_, index) => {
    const reporting = rig.bringUp()[index]!;
    touch(4000, 2000);
    const before = resident();
    reporting.submit([
      { gpa: 4096 * PAGE, length: MiB, writable: true },
      { gpa: 5120 * PAGE, length: MiB, writable: true },
    ]);
    rig.run(index);
    expect(reporting.takeUsed()).toEqual([{ id: 0, length: 0 }]);
    expect(before - resident()).toBe(2 * MiB);
    expect([4096, 4351, 5120, 5375].every(isZero)).toBe(true);
    expect([4095, 4352, 5119, 5376].some(isZero)).toBe(false);
    expect(counters.counts.reportedBytes).toBe(2 * MiB);
  });

  it("takes it from the third queue of a driver that wants no statistics", () => {
    const queue = rig.bringUp(VERSION_1 | (1n << BigInt(VIRTIO_BALLOON_F_PAGE_REPORTING)))[STATS_QUEUE]!;
    touch(5000);
    queue.submit([{ gpa: 5000 * PAGE, length: PAGE, writable: true }]);
    rig.run(STATS_QUEUE);
    expect(isZero(5000)).toBe(true);
  });

  it("takes nothing of a driver that has not accepted the feature", () => {
    const queue = rig.bringUp(VERSION_1 | (1n << BigInt(VIRTIO_BALLOON_F_STATS_VQ)))[REPORTING_QUEUE]!;
    touch(5000);
    queue.submit([{ gpa: 5000 * PAGE, length: PAGE, writable: true }]);
    rig.run(REPORTING_QUEUE);
    expect(isZero(5000)).toBe(false);
    expect(queue.takeUsed()).toHaveLength(1);
  });

  it("is not offered, and has no queue, where it is switched off", () => {
    build({ reporting: false });
    expect((rig.offered >> BigInt(VIRTIO_BALLOON_F_PAGE_REPORTING)) & 1n).toBe(0n);
    expect(rig.bringUp()).toHaveLength(3);
  });

  it("takes whole pages only", () => {
    const reporting = rig.bringUp()[REPORTING_QUEUE]!;
    touch(5000, 4);
    reporting.submit([
      { gpa: 5000 * PAGE + 1, length: 2 * PAGE, writable: true },
      { gpa: 5003 * PAGE + 8, length: 16, writable: true },
      { gpa: 5003 * PAGE, length: 0, writable: true },
    ]);
    rig.run(REPORTING_QUEUE);
    expect([5000, 5001, 5002, 5003].map(isZero)).toEqual([false, true, false, false]);
  });

  it("takes a lot in turns", () => {
    memory.release();
    memory = GuestMemory.create(128 * MiB);
    build();
    const reporting = rig.bringUp()[REPORTING_QUEUE]!;
    const free = [8, 31, 32, 40, 48].map((at) => ({ gpa: at * MiB + 4, length: 40 * MiB, writable: true }));
    for (const { gpa, length } of free) touch(Math.floor(gpa / PAGE), length / PAGE + 1);
    touch(2047);
    reporting.submit(free);
    let turns = 1;
    while (rig.backend.run(REPORTING_QUEUE)) turns++;
    expect(turns).toBe(7);
    expect(reporting.takeUsed()).toHaveLength(1);
    expect(counters.counts.reportedBytes).toBe(5 * (40 * MiB - PAGE));
    expect([2047, 2048].some(isZero)).toBe(false); // the second one is partly free
    expect([2049, (88 * MiB) / PAGE - 1].every(isZero)).toBe(true);
    expect(isZero((88 * MiB) / PAGE)).toBe(false);
  });

  it("refuses what is not RAM", () => {
    const reporting = rig.bringUp()[REPORTING_QUEUE]!;
    reporting.submit([{ gpa: SIZE - PAGE, length: 2 * PAGE, writable: true }]);
    rig.run(REPORTING_QUEUE);
    expect(rig.needsReset).toBe(true);
  });
});

describe("statistics", () => {
  it("keeps the last ones, by their tags", () => {
    const stats = rig.bringUp()[STATS_QUEUE]!;
    expect(statistics.latest).toBeUndefined();
    stats.submit([
      rig.place(statisticsBuffer([4, 100n], [5, 5n << 32n], [6, 200n], [8, 1n], [9, 2n], [15, 7n], [99, 3n])),
    ]);
    rig.run(STATS_QUEUE);
    expect(statistics.latest).toEqual({
      at: 1000,
      figures: {
        free: 100,
        total: 5 * 2 ** 32,
        available: 200,
        hugePageAllocations: 1,
        hugePageFailures: 2,
        directReclaims: 7,
      },
    });
    // The buffer stays with the device until somebody asks.
    expect(stats.takeUsed()).toEqual([]);
  });

  it("asks for new ones when somebody asks it, once", () => {
    const stats = rig.bringUp()[STATS_QUEUE]!;
    stats.submit([rig.place(statisticsBuffer([4, 1n]))]);
    rig.run(STATS_QUEUE);
    rig.run(STATS_QUEUE);
    expect(stats.takeUsed()).toEqual([]);
    statistics.request();
    rig.run(STATS_QUEUE);
    expect(stats.takeUsed()).toHaveLength(1);
    expect(rig.takeInterrupts()).toBe(1);
    time = 2000;
    stats.submit([rig.place(statisticsBuffer([7, 2n]))]);
    rig.run(STATS_QUEUE);
    expect(statistics.latest).toEqual({ at: 2000, figures: { caches: 2 } });
    expect(stats.takeUsed()).toEqual([]);
  });

  it("holds one buffer at a time, however many there are", () => {
    const stats = rig.bringUp()[STATS_QUEUE]!;
    for (const value of [1n, 2n, 3n]) stats.submit([rig.place(statisticsBuffer([4, value]))]);
    rig.run(STATS_QUEUE, 0);
    expect(stats.takeUsed()).toEqual([]);
    expect(statistics.latest?.figures.free).toBe(1);
    statistics.request();
    rig.run(STATS_QUEUE, 0);
    expect(stats.takeUsed()).toHaveLength(1);
    expect(statistics.latest?.figures.free).toBe(2);
  });

  it("reads no more of a buffer than there can be", () => {
    const stats = rig.bringUp()[STATS_QUEUE]!;
    const many = Array.from({ length: 65 }, (_, index): [number, bigint] => [4, BigInt(index)]);
    stats.submit([rig.place(statisticsBuffer(...many)), { gpa: 0, length: SIZE }]);
    rig.run(STATS_QUEUE, 0);
    expect(statistics.latest?.figures).toEqual({ free: 63 });
  });

  it("takes figures that are cut off for none", () => {
    const stats = rig.bringUp()[STATS_QUEUE]!;
    stats.submit([rig.place(statisticsBuffer([4, 1n]).subarray(0, 9))]);
    rig.run(STATS_QUEUE);
    expect(statistics.latest).toEqual({ at: 1000, figures: {} });
  });

  it("forgets them with the driver", () => {
    const stats = rig.bringUp()[STATS_QUEUE]!;
    stats.submit([rig.place(statisticsBuffer([4, 1n]))]);
    rig.run(STATS_QUEUE);
    rig.set(R.Status, 0);
    rig.backend.synchronize();
    expect(statistics.latest).toBeUndefined();
  });
});

describe("configuration", () => {
  const ACTUAL = R.Config + ACTUAL_WORD * 4;

  it("shows how many pages are wanted, and takes how many there are", () => {
    build({ pages: 1234 });
    rig.bringUp();
    expect(rig.get(R.Config)).toBe(1234);
    rig.set(ACTUAL, 0xffff_fff0);
    expect(rig.get(ACTUAL)).toBe(0xffff_fff0);
  });

  it("takes no other writes", () => {
    build({ pages: 1234 });
    rig.bringUp();
    rig.set(R.Config, 5);
    rig.set(R.Config + 8, 5);
    rig.set(R.Config + 2, 5);
    rig.set(ACTUAL + 1, 5);
    rig.transport.write(ACTUAL, 2, 5);
    expect([rig.get(R.Config), rig.get(ACTUAL)]).toEqual([1234, 0]);
  });

  it("forgets with a reset what the driver has said, and not what is wanted", () => {
    build({ pages: 1234 });
    rig.bringUp();
    rig.set(ACTUAL, 99);
    rig.set(R.Status, 0);
    expect([rig.get(R.Config), rig.get(ACTUAL)]).toEqual([1234, 0]);
  });
});
