import fc from "fast-check";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BlockBackend } from "../../disk/backend.ts";
import { rawDiskOn } from "../../disk/testing/raw-disk.ts";
import { GuestMemory } from "../../kvm/guest-memory.ts";
import {
  DISCARD,
  FLUSH,
  GET_ID,
  header,
  IN,
  IOERR,
  OK,
  OUT,
  range,
  type Request,
  sectors,
  send,
  submitRequest,
  UNSUPP,
  UNTOUCHED,
  WRITE_ZEROES,
  type Answer,
} from "../testing/blk-request.ts";
import { type DriverQueue, Rig } from "../testing/driver.ts";
import { blkModel, SERIAL_BYTES, VirtioBlk } from "./blk.ts";
import { R } from "./mmio.ts";

const SECTOR = 512;
const SECTORS = 64;
const SIZE = SECTORS * SECTOR;
const UNMAP = 1;

const memory = GuestMemory.create(8 * 2 ** 20);
afterAll(() => memory.release());

const directory = mkdtempSync(join(tmpdir(), "tsvm-blk-"));
const path = join(directory, "disk");
afterAll(() => {
  rmSync(directory, { recursive: true });
});

interface Bench {
  readonly rig: Rig<VirtioBlk>;
  readonly queue: DriverQueue;
  readonly ask: (request: Request) => Answer | undefined;
}

const bench = (disk: BlockBackend, { readOnly = false, serial = "tsvm-0" } = {}): Bench => {
  const rig = new Rig(
    blkModel({ size: disk.size, readOnly }),
    memory,
    (state) => new VirtioBlk(state, memory, disk, { readOnly, serial }),
  );
  const queue = rig.bringUp()[0]!;
  return { rig, queue, ask: (request) => submitRequest(rig, queue, request) };
};

/** A disk that counts what reaches it, and fails with `errno`. */
class FakeDisk implements BlockBackend {
  readonly size: number;
  readonly calls: string[] = [];
  readonly #errno: number;
  constructor(size: number, errno = 0) {
    this.size = size;
    this.#errno = errno;
  }
  #note(call: string): number {
    this.calls.push(call);
    return this.#errno;
  }
  read(vector: { bytes: number }, offset: number): number {
    return this.#note(`read ${offset} ${vector.bytes}`);
  }
  write(vector: { bytes: number }, offset: number): number {
    return this.#note(`write ${offset} ${vector.bytes}`);
  }
  flush(): number {
    return this.#note("flush");
  }
  discard(offset: number, length: number): number {
    return this.#note(`discard ${offset} ${length}`);
  }
  writeZeroes(offset: number, length: number, unmap: boolean): number {
    return this.#note(`zero ${offset} ${length}${unmap ? " unmap" : ""}`);
  }
  readonly hasTables = false;
  *flushSteps(): Generator<never, void, undefined> {
    // Nothing to wait for.
  }
  mapRead(): number {
    return 0;
  }
  mapWrite(): number {
    return 0;
  }
}

describe("the configuration space", () => {
  it("tells capacity and limits", () => {
    const { rig } = bench(new FakeDisk(5 * 2 ** 40));
    const at = (offset: number, size: number): number => rig.transport.read(R.Config + offset, size);
    expect(at(0, 4) + at(4, 4) * 2 ** 32).toBe((5 * 2 ** 40) / SECTOR);
    expect(at(8, 4)).toBe(1 << 20); // size_max
    expect(at(12, 4)).toBe(126); // seg_max
    expect(at(20, 4)).toBe(512); // blk_size
    expect(at(34, 2)).toBe(1); // num_queues
  });

  it("offers what changes the disk only where it may be changed", () => {
    const offered = (readOnly: boolean): number[] => {
      const bits = bench(new FakeDisk(SIZE), { readOnly }).rig.offered;
      return [5, 9, 13, 14].filter((bit) => ((bits >> BigInt(bit)) & 1n) === 1n); // RO, FLUSH, DISCARD, WRITE_ZEROES
    };
    expect(offered(false)).toEqual([9, 13, 14]);
    expect(offered(true)).toEqual([5, 9]);
  });
});

describe("on a file", () => {
  let fd = -1;
  let content: Buffer;
  beforeEach(() => {
    content = sectors(SECTORS, 3);
    writeFileSync(path, content);
    fd = openSync(path, "r+");
  });
  afterEach(() => {
    closeSync(fd);
  });
  const open = (options?: { readOnly?: boolean }): Bench => bench(rawDiskOn(fd, SIZE), options);
  const slice = (from: number, count: number): Buffer =>
    content.subarray(from * SECTOR, (from + count) * SECTOR);

  it("reads, with the length of data and status in the used ring", () => {
    const { ask, rig } = open();
    expect(ask({ type: IN, sector: 5, room: 1024 })).toEqual({ status: OK, used: 1025, data: slice(5, 2) });
    expect(ask({ type: IN, sector: 0, room: SIZE })).toEqual({ status: OK, used: SIZE + 1, data: content });
    expect(ask({ type: IN, sector: SECTORS, room: 0 })).toMatchObject({ status: OK });
    expect(rig.takeInterrupts()).toBeGreaterThan(0);
  });

  it("writes, with one byte in the used ring", () => {
    const { ask } = open();
    const data = sectors(3, 99);
    expect(ask({ type: OUT, sector: 7, payload: data })).toEqual({
      status: OK,
      used: 1,
      data: Buffer.alloc(0),
    });
    data.copy(content, 7 * SECTOR);
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  it("flushes", () => {
    expect(open().ask({ type: FLUSH })).toEqual({ status: OK, used: 1, data: Buffer.alloc(0) });
  });

  it("zeroes and discards, and leaves the size alone", () => {
    const { ask } = open();
    expect(ask({ type: WRITE_ZEROES, payload: range(2, 3) })).toMatchObject({ status: OK, used: 1 });
    expect(ask({ type: WRITE_ZEROES, payload: range(62, 2, UNMAP) })).toMatchObject({ status: OK });
    expect(ask({ type: DISCARD, payload: Buffer.concat([range(16, 8), range(32, 8)]) })).toMatchObject({
      status: OK,
    });
    expect(ask({ type: DISCARD, payload: range(64, 0) })).toMatchObject({ status: OK });
    const seen = readFileSync(path);
    content.fill(0, 2 * SECTOR, 5 * SECTOR).fill(0, 62 * SECTOR);
    expect(seen.length).toBe(SIZE);
    for (const [from, count] of [
      [0, 16],
      [24, 8],
      [40, 24],
    ] as const) {
      expect(seen.subarray(from * SECTOR, (from + count) * SECTOR).equals(slice(from, count))).toBe(true);
    }
  });

  it("says which disk it is, in 20 bytes", () => {
    const padded = (serial: string): Buffer => Buffer.concat([Buffer.from(serial)], SERIAL_BYTES);
    for (const [serial, shown] of [
      ["tsvm-0", padded("tsvm-0")],
      ["", padded("")],
      ["exactly-twenty-chars", Buffer.from("exactly-twenty-chars")],
      ["more-than-twenty-characters", Buffer.from("more-than-twenty-cha")],
    ] as const) {
      const { ask } = bench(new FakeDisk(SIZE), { serial });
      expect(ask({ type: GET_ID, room: 20, cuts: [7, 19] })).toEqual({ status: OK, used: 21, data: shown });
      expect(ask({ type: GET_ID, room: 19 })).toMatchObject({ status: IOERR, used: 1 });
    }
  });

  it.each([
    ["reads beyond the end", { type: IN, sector: 63, room: 1024 }],
    ["reads behind the end", { type: IN, sector: SECTORS, room: 512 }],
    ["reads of a sector near 2^32", { type: IN, sector: 2 ** 32, room: 512 }],
    ["reads of a sector near 2^53", { type: IN, sector: 2n ** 53n + 1n, room: 512 }],
    ["reads of a sector whose offset wraps to 0", { type: IN, sector: 2n ** 55n, room: 512 }],
    ["reads of a sector near 2^64", { type: IN, sector: 2n ** 64n - 1n, room: 1024 }],
    ["writes beyond the end", { type: OUT, sector: 63, payload: Buffer.alloc(1024) }],
    ["writes to a sector near 2^64", { type: OUT, sector: 2n ** 64n - 2n, payload: Buffer.alloc(1024) }],
    ["reads that are not whole sectors", { type: IN, sector: 0, room: 511 }],
    ["reads of a sector and a byte", { type: IN, sector: 0, room: 513 }],
    ["writes that are not whole sectors", { type: OUT, sector: 0, payload: Buffer.alloc(100) }],
    ["zeroes beyond the end", { type: WRITE_ZEROES, payload: range(60, 5) }],
    ["zeroes near 2^64", { type: WRITE_ZEROES, payload: range(2n ** 64n - 1n, 2) }],
    ["zeroes of 4 Gi sectors", { type: WRITE_ZEROES, payload: range(0, 0xffff_ffff) }],
    ["discards beyond the end", { type: DISCARD, payload: range(0, 65) }],
    [
      "discards where the second range is bad",
      { type: DISCARD, payload: Buffer.concat([range(0, 8), range(64, 1)]) },
    ],
    ["discards without a range", { type: DISCARD }],
    ["discards with a piece of a range", { type: DISCARD, payload: Buffer.alloc(24) }],
    ["discards with too many ranges", { type: DISCARD, payload: Buffer.alloc(16 * 17) }],
    [
      "zeroes with too many ranges",
      { type: WRITE_ZEROES, payload: Buffer.concat([range(0, 1), range(1, 1)]) },
    ],
  ] as [string, Request][])("refuses %s, and changes nothing", (_, request) => {
    const { ask, rig } = open();
    const answer = ask(request);
    expect(answer).toMatchObject({ status: IOERR, used: 1 });
    expect(answer!.data.every((byte) => byte === UNTOUCHED)).toBe(true);
    expect(readFileSync(path).equals(content)).toBe(true);
    expect(rig.needsReset).toBe(false);
  });

  it.each([2, 3, 5, 6, 7, 9, 10, 12, 14, 15, 16, 0x8000_0000, 0xffff_ffff])(
    "does not know type %s",
    (type) => {
      const { ask } = open();
      expect(ask({ type, payload: Buffer.alloc(512), room: 512 })).toMatchObject({ status: UNSUPP, used: 1 });
      expect(readFileSync(path).equals(content)).toBe(true);
    },
  );

  it.each([
    ["discard with UNMAP", DISCARD, 1],
    ["discard with an unknown flag", DISCARD, 2],
    ["zeroes with an unknown flag", WRITE_ZEROES, 2],
    ["zeroes with all flags", WRITE_ZEROES, 0xffff_ffff],
  ])("does not do %s", (_, type, flags) => {
    expect(open().ask({ type, payload: range(0, 1, flags) })).toMatchObject({ status: UNSUPP, used: 1 });
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  it("read-only refuses everything that writes, and takes a flush", () => {
    const { ask } = open({ readOnly: true });
    for (const request of [
      { type: OUT, payload: Buffer.alloc(512) },
      { type: DISCARD, payload: range(0, 1) },
      { type: WRITE_ZEROES, payload: range(0, 1) },
    ]) {
      expect(ask(request)).toMatchObject({ status: IOERR });
    }
    expect(ask({ type: FLUSH })).toMatchObject({ status: OK });
    expect(ask({ type: IN, sector: 1, room: 512 })).toMatchObject({ status: OK, data: slice(1, 1) });
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  it("tells the driver of a file that has shrunk", () => {
    const { ask } = open();
    truncateSync(path, 10 * SECTOR);
    expect(ask({ type: IN, sector: 9, room: 1024 })).toMatchObject({ status: IOERR, used: 1 });
    expect(ask({ type: IN, sector: 9, room: 512 })).toMatchObject({ status: OK });
  });

  it("survives headers in pieces, and buffers without length", () => {
    const { rig, queue } = open();
    const head = header(IN, 4);
    const pieces = [...head].map((byte) => rig.place(Uint8Array.of(byte)));
    const status = { gpa: rig.allocate(1), length: 1, writable: true };
    const data = { gpa: rig.allocate(512), length: 512, writable: true };
    const empty = { gpa: 0, length: 0 };
    expect(send(rig, queue, [empty, ...pieces, empty, { ...empty, writable: true }, data, status])).toEqual({
      status: OK,
      used: 513,
      data: slice(4, 1),
    });
  });

  it("answers a request that is too short with an error, and gives up on one without a status byte", () => {
    const { rig, queue } = open();
    const status = { gpa: rig.allocate(1), length: 1, writable: true };
    expect(send(rig, queue, [status])).toMatchObject({ status: IOERR, used: 1 });
    expect(send(rig, queue, [rig.place(header(IN).subarray(0, 15)), status])).toMatchObject({
      status: IOERR,
    });
    expect(rig.needsReset).toBe(false);
    expect(send(rig, queue, [rig.place(header(FLUSH))])).toBeUndefined();
    expect(rig.needsReset).toBe(true);
  });

  it("gives up on a chain whose writable part is empty", () => {
    const { rig, queue } = open();
    expect(
      send(rig, queue, [rig.place(header(FLUSH)), { gpa: 0, length: 0, writable: true }]),
    ).toBeUndefined();
    expect(rig.needsReset).toBe(true);
  });

  const sector = fc.nat(SECTORS - 1);
  const count = fc.nat(9);
  const cuts = fc.array(fc.nat(6000), { maxLength: 8 });
  const operation = fc.oneof(
    fc.record({ kind: fc.constant("read" as const), sector, count, cuts, indirect: fc.boolean() }),
    fc.record({
      kind: fc.constant("write" as const),
      sector,
      count,
      cuts,
      indirect: fc.boolean(),
      seed: fc.nat(255),
    }),
    fc.record({ kind: fc.constant("zero" as const), sector, count, cuts, unmap: fc.boolean() }),
    fc.record({ kind: fc.constant("flush" as const), cuts }),
  );

  it("is an array of bytes, however its requests are cut into buffers (property)", () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 10 }), (operations) => {
        writeFileSync(path, content, { flag: "r+" });
        const model = Buffer.from(content);
        const { ask, rig } = open();
        for (const one of operations) {
          if (one.kind === "flush") {
            expect(ask({ type: FLUSH, cuts: one.cuts })).toMatchObject({ status: OK, used: 1 });
            continue;
          }
          const [from, to] = [one.sector * SECTOR, (one.sector + one.count) * SECTOR];
          const status = to <= SIZE ? OK : IOERR;
          if (one.kind === "read") {
            const answer = ask({ type: IN, room: to - from, ...one });
            expect(answer).toMatchObject({ status, used: status === OK ? to - from + 1 : 1 });
            if (status === OK) expect(answer!.data.equals(model.subarray(from, to))).toBe(true);
          } else if (one.kind === "write") {
            const payload = sectors(one.count, one.seed);
            expect(ask({ type: OUT, payload, ...one })).toMatchObject({ status, used: 1 });
            if (status === OK) payload.copy(model, from);
          } else {
            const payload = range(one.sector, one.count, one.unmap ? UNMAP : 0);
            expect(ask({ type: WRITE_ZEROES, payload, cuts: one.cuts })).toMatchObject({ status, used: 1 });
            if (status === OK) model.fill(0, from, to);
          }
        }
        expect(readFileSync(path).equals(model)).toBe(true);
        expect(rig.needsReset).toBe(false);
      }),
    );
  });
});

describe("on a disk that fails", () => {
  const EIO = 5;

  it("says so to the driver, each time, and goes on", () => {
    const disk = new FakeDisk(SIZE, EIO);
    const { ask, rig } = bench(disk);
    for (const request of [
      { type: IN, room: 512 },
      { type: OUT, payload: Buffer.alloc(512) },
      { type: FLUSH },
      { type: DISCARD, payload: range(0, 1) },
      { type: WRITE_ZEROES, payload: range(0, 1, UNMAP) },
    ]) {
      expect(ask(request)).toMatchObject({ status: IOERR, used: 1 });
    }
    expect(disk.calls).toEqual(["read 0 512", "write 0 512", "flush", "discard 0 512", "zero 0 512 unmap"]);
    expect(ask({ type: GET_ID, room: 20 })).toMatchObject({ status: OK });
    expect(rig.needsReset).toBe(false);
  });

  it("stops at the first range that fails", () => {
    const disk = new FakeDisk(SIZE, EIO);
    bench(disk).ask({ type: DISCARD, payload: Buffer.concat([range(0, 1), range(1, 1)]) });
    expect(disk.calls).toEqual(["discard 0 512"]);
  });
});

describe("large disks and requests", () => {
  it("are addressed beyond 2^32 sectors", () => {
    const disk = new FakeDisk(8 * 2 ** 40);
    const { ask } = bench(disk);
    expect(ask({ type: IN, sector: 2 ** 33 + 1, room: 512 })).toMatchObject({ status: OK });
    expect(disk.calls).toEqual([`read ${(2 ** 33 + 1) * 512} 512`]);
  });

  it("are bounded: one request does not move more than its limits allow", () => {
    const disk = new FakeDisk(2 ** 40);
    const { rig, queue } = bench(disk);
    const status = { gpa: rig.allocate(1), length: 1, writable: true };
    const huge = { gpa: 0, length: 4 * 2 ** 20, writable: true };
    const segments = Array.from({ length: 32 }, () => huge);
    expect(send(rig, queue, [rig.place(header(IN)), ...segments, status])).toMatchObject({ status: IOERR });
    expect(disk.calls).toEqual([]);
    expect(send(rig, queue, [rig.place(header(IN)), ...segments.slice(0, 31), status])).toMatchObject({
      status: OK,
    });
  });
});
