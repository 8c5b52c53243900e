import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { GuestMemory } from "../../kvm/guest-memory.ts";
import { GiB, HOLE_END, HOLE_START } from "../../kvm/memory-map.ts";
import {
  type DriverQueue,
  INDIRECT,
  NEXT,
  ProbeBackend,
  probeModel,
  type RawDescriptor,
  Rig,
  type Segment,
  WRITE,
} from "../testing/driver.ts";
import { BLOCKED, UNFINISHED } from "./backend.ts";
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from "./constants.ts";
import { R } from "./mmio.ts";
import { Virtqueue } from "./queue.ts";
import { Q } from "./state.ts";

const VERSION_1 = 1n << BigInt(VIRTIO_F_VERSION_1);
const EVENT_IDX = 1n << BigInt(VIRTIO_F_EVENT_IDX);
const INDIRECT_DESC = 1n << BigInt(VIRTIO_F_INDIRECT_DESC);

const SIZE = 2 ** 20;
const memory = GuestMemory.create(SIZE);
/** More than fits below the hole: address space only. */
const large = GuestMemory.create(5 * GiB);
afterAll(() => {
  memory.release();
  large.release();
});

interface Bench {
  readonly rig: Rig<ProbeBackend>;
  readonly queue: DriverQueue;
}

const bench = ({
  size = 16,
  features,
  ram = memory,
}: { size?: number; features?: bigint; ram?: GuestMemory } = {}): Bench => {
  const rig = new Rig(probeModel(size), ram, (state) => new ProbeBackend(state, ram));
  const [queue] = rig.bringUp(features);
  return { rig, queue: queue! };
};

/** The device is dead, says so once, and stays so until it is reset. */
const expectBroken = ({ rig, queue }: Bench, seen = 0): void => {
  expect(rig.needsReset).toBe(true);
  expect(rig.get(R.InterruptStatus) & 2).toBe(2);
  expect(rig.takeInterrupts()).toBe(1 + seen);
  expect(rig.backend.seen.length).toBe(seen);
  queue.submit([{ gpa: 0, length: 1 }]);
  expect(rig.backend.run(0)).toBe(false);
  expect(rig.backend.seen.length).toBe(seen);
  expect(rig.takeInterrupts()).toBe(0);
  // A reset brings it back.
  rig.set(R.Status, 0);
  const [fresh] = rig.bringUp();
  fresh!.submit([{ gpa: 0x800, length: 16 }]);
  rig.run();
  expect(rig.backend.seen.at(-1)?.segments).toEqual([{ gpa: 0x800, length: 16, writable: false }]);
  expect(rig.needsReset).toBe(false);
};

describe("a chain", () => {
  it("arrives as it was sent, and goes back with its length", () => {
    const { rig, queue } = bench();
    const segments: Segment[] = [
      { gpa: 0x8000, length: 16, writable: false },
      { gpa: 0x9000, length: 512, writable: false },
      { gpa: 0xa000, length: 1, writable: true },
    ];
    rig.backend.answer = () => 513;
    const head = queue.submit(segments);
    rig.run();
    expect(rig.backend.seen).toEqual([{ queue: 0, head, segments }]);
    expect(queue.takeUsed()).toEqual([{ id: head, length: 513 }]);
    expect(rig.takeInterrupts()).toBe(1);
    expect(rig.get(R.InterruptStatus)).toBe(1);
  });

  it("may link its descriptors in any order", () => {
    const { rig, queue } = bench();
    queue.setDescriptor(9, { gpa: 0x1000, length: 1, flags: NEXT, next: 3 });
    queue.setDescriptor(3, { gpa: 0x2000, length: 2, flags: NEXT | WRITE, next: 15 });
    queue.setDescriptor(15, { gpa: 0x3000, length: 3, flags: WRITE, next: 9 }); // next counts only with NEXT
    queue.offer(9);
    rig.run();
    expect(rig.backend.seen[0]!.segments).toEqual([
      { gpa: 0x1000, length: 1, writable: false },
      { gpa: 0x2000, length: 2, writable: true },
      { gpa: 0x3000, length: 3, writable: true },
    ]);
  });

  it("may be as long as the queue, in the table and through an indirect one", () => {
    const segments = Array.from({ length: 16 }, (_, index) => ({
      gpa: 0x8000 + index,
      length: 1,
      writable: index > 7,
    }));
    const { rig, queue } = bench();
    queue.submit(segments);
    queue.submitIndirect(segments, rig.allocate(16 * 16));
    rig.run();
    expect(rig.backend.seen.map((chain) => chain.segments)).toEqual([segments, segments]);
  });

  it("may have buffers without length, up to the last byte of memory", () => {
    const { rig, queue } = bench();
    const segments = [
      { gpa: 0, length: 0, writable: false },
      { gpa: SIZE - 1, length: 1, writable: false },
      { gpa: SIZE - 1, length: 0, writable: true },
    ];
    queue.submit(segments);
    rig.run();
    expect(rig.backend.seen[0]!.segments).toEqual(segments);
    expect(queue.takeUsed().length).toBe(1);
  });

  it("may be direct first and end in an indirect table, whose WRITE flag means nothing", () => {
    const { rig, queue } = bench();
    const table = rig.allocate(32);
    queue.link([{ gpa: 0x2000, length: 2 }], 0, table);
    queue.setDescriptor(0, { gpa: 0x1000, length: 1, flags: NEXT, next: 1 });
    queue.setDescriptor(1, { gpa: table, length: 16, flags: INDIRECT | WRITE });
    queue.offer(0);
    rig.run();
    expect(rig.backend.seen[0]!.segments.map(({ gpa }) => gpa)).toEqual([0x1000, 0x2000]);
  });

  it("may lie on both sides of the hole, but no buffer in it", () => {
    const ok = bench({ ram: large });
    const segments = [
      { gpa: HOLE_START - 16, length: 16, writable: false },
      { gpa: HOLE_END, length: 16, writable: false },
      { gpa: HOLE_END + 2 * GiB - 16, length: 16, writable: true },
    ];
    ok.queue.submit(segments);
    ok.rig.run();
    expect(ok.rig.backend.seen[0]!.segments).toEqual(segments);
    const end = HOLE_END + (5 * GiB - HOLE_START);
    for (const [gpa, length] of [
      [HOLE_START - 16, 17],
      [HOLE_START, 1],
      [HOLE_START, 0],
      [HOLE_END - 1, 1],
      [HOLE_END - 1, 2],
      [HOLE_START - 1, 0x4000_0002],
      [end - 1, 2],
      [end, 1],
      [0, 0xffff_ffff],
    ] as const) {
      const bad = bench({ ram: large });
      bad.queue.submit([{ gpa, length, writable: true }]);
      bad.rig.run();
      expectBroken(bad);
    }
  });

  const broken: [string, (queue: DriverQueue, rig: Rig<ProbeBackend>) => void][] = [
    ["a head outside the table", (queue) => queue.offer(16)],
    ["a head of 65535", (queue) => queue.offer(0xffff)],
    [
      "a descriptor that follows itself",
      (queue) => {
        queue.setDescriptor(0, { gpa: 0, length: 1, flags: NEXT, next: 0 });
        queue.offer(0);
      },
    ],
    [
      "a loop of two",
      (queue) => {
        queue.setDescriptor(0, { gpa: 0, length: 1, flags: NEXT, next: 1 });
        queue.setDescriptor(1, { gpa: 0, length: 1, flags: NEXT, next: 0 });
        queue.offer(0);
      },
    ],
    [
      "a successor outside the table",
      (queue) => {
        queue.setDescriptor(0, { gpa: 0, length: 1, flags: NEXT, next: 16 });
        queue.offer(0);
      },
    ],
    [
      "a readable buffer after a writable one",
      (queue) =>
        queue.submit([
          { gpa: 0, length: 1, writable: true },
          { gpa: 0, length: 1 },
        ]),
    ],
    ["a buffer beyond memory", (queue) => queue.submit([{ gpa: SIZE, length: 1 }])],
    ["an empty buffer beyond memory", (queue) => queue.submit([{ gpa: SIZE, length: 0 }])],
    [
      "a buffer across the end of memory",
      (queue) => queue.submit([{ gpa: SIZE - 1, length: 2, writable: true }]),
    ],
    ["a buffer of 4 GiB", (queue) => queue.submit([{ gpa: 0, length: 0xffff_ffff }])],
    ...[2n ** 64n - 1n, 2n ** 64n - 4096n, 2n ** 63n, 2n ** 53n + 1n, 2n ** 47n, 2n ** 32n].map(
      (gpa): [string, (queue: DriverQueue) => void] => [
        `a buffer at 0x${gpa.toString(16)} that would wrap`,
        (queue) => {
          queue.setDescriptor(0, { gpa, length: 0xffff_f000 });
          queue.offer(0);
        },
      ],
    ),
    ["more chains than the queue has", (queue) => queue.setAvailIndex(17)],
    ["an available index that goes back", (queue) => queue.setAvailIndex(-1)],
    ["an available index half way round", (queue) => queue.setAvailIndex(0x8000)],
    [
      "an indirect table of no length",
      (queue) => {
        queue.setDescriptor(0, { gpa: 0x1000, length: 0, flags: INDIRECT });
        queue.offer(0);
      },
    ],
    ...[1, 15, 17, 40, 0xffff_ffff, 0xffff_fff0, 0x10_0010].map(
      (length): [string, (queue: DriverQueue) => void] => [
        `an indirect table of ${length} bytes`,
        (queue) => {
          queue.setDescriptor(0, { gpa: 0x1000, length, flags: INDIRECT });
          queue.offer(0);
        },
      ],
    ),
    [
      "an indirect table across the end of memory",
      (queue) => {
        queue.setDescriptor(0, { gpa: SIZE - 16, length: 32, flags: INDIRECT });
        queue.offer(0);
      },
    ],
    [
      "an indirect table beyond 2^53",
      (queue) => {
        queue.setDescriptor(0, { gpa: 2n ** 64n - 16n, length: 16, flags: INDIRECT });
        queue.offer(0);
      },
    ],
    [
      "an indirect descriptor with a successor",
      (queue, rig) => {
        const table = rig.allocate(16);
        queue.link([{ gpa: 0, length: 1 }], 0, table);
        queue.setDescriptor(0, { gpa: table, length: 16, flags: INDIRECT | NEXT, next: 1 });
        queue.offer(0);
      },
    ],
    [
      "an indirect table in an indirect table",
      (queue, rig) => {
        const [outer, inner] = [rig.allocate(16), rig.allocate(16)];
        queue.link([{ gpa: 0, length: 1 }], 0, inner);
        queue.setDescriptor(0, { gpa: inner, length: 16, flags: INDIRECT }, outer);
        queue.setDescriptor(0, { gpa: outer, length: 16, flags: INDIRECT });
        queue.offer(0);
      },
    ],
    [
      "a loop in an indirect table",
      (queue, rig) => {
        const table = rig.allocate(32);
        queue.setDescriptor(0, { gpa: 0, length: 1, flags: NEXT, next: 1 }, table);
        queue.setDescriptor(1, { gpa: 0, length: 1, flags: NEXT, next: 0 }, table);
        queue.setDescriptor(0, { gpa: table, length: 32, flags: INDIRECT });
        queue.offer(0);
      },
    ],
    [
      "a successor outside its indirect table",
      (queue, rig) => {
        const table = rig.allocate(64);
        queue.link([{ gpa: 0, length: 1 }], 2, table);
        queue.setDescriptor(0, { gpa: 0, length: 1, flags: NEXT, next: 2 }, table);
        queue.setDescriptor(0, { gpa: table, length: 32, flags: INDIRECT });
        queue.offer(0);
      },
    ],
    [
      "a chain in an indirect table that is longer than the queue",
      (queue, rig) => {
        const segments = Array.from({ length: 17 }, () => ({ gpa: 0, length: 1 }));
        queue.submitIndirect(segments, rig.allocate(17 * 16));
      },
    ],
    [
      "a direct and an indirect part that are longer than the queue together",
      (queue, rig) => {
        const table = rig.allocate(16 * 16);
        queue.link(
          Array.from({ length: 16 }, () => ({ gpa: 0, length: 1 })),
          0,
          table,
        );
        queue.setDescriptor(0, { gpa: 0, length: 1, flags: NEXT, next: 1 });
        queue.setDescriptor(1, { gpa: table, length: 256, flags: INDIRECT });
        queue.offer(0);
      },
    ],
  ];
  it.each(broken)("with %s makes the device need a reset", (_, make) => {
    const one = bench();
    make(one.queue, one.rig);
    one.rig.run();
    expectBroken(one);
  });

  it("that is indirect needs the feature", () => {
    const one = bench({ features: VERSION_1 });
    one.queue.submitIndirect([{ gpa: 0, length: 1 }], one.rig.allocate(16));
    one.rig.run();
    expectBroken(one);
  });

  it("that is broken does not undo those before it", () => {
    const { rig, queue } = bench();
    queue.submit([{ gpa: 0, length: 1 }]);
    queue.submit([{ gpa: SIZE, length: 1 }]);
    rig.run();
    expect(queue.takeUsed()).toEqual([{ id: 0, length: 0 }]);
    expectBroken({ rig, queue }, 1);
  });
});

describe("rings", () => {
  const place = (rings: [number, number, number], size = 16, ram = memory): Rig<ProbeBackend> => {
    const rig = new Rig(probeModel(size), ram, (state) => new ProbeBackend(state, ram));
    rig.negotiate();
    rig.setQueue(0, size, rings);
    rig.start();
    rig.backend.synchronize();
    return rig;
  };
  const desc = 0x1000;
  const avail = 0x2000;
  const used = 0x3000;

  it("may end with memory", () => {
    expect(place([SIZE - 256, avail, used]).needsReset).toBe(false);
    expect(place([desc, SIZE - 38, used]).needsReset).toBe(false);
    expect(place([desc, avail, SIZE - 136]).needsReset).toBe(false);
  });

  it("may lie on top of each other: it is the guest's memory", () => {
    const rig = place([desc, desc, desc]);
    expect(rig.needsReset).toBe(false);
    rig.ram.setUint16(desc + 2, 3, true);
    rig.backend.run(0);
  });

  it.each([
    ["a descriptor table that is not aligned", [desc + 8, avail, used]],
    ["an available ring that is not aligned", [desc, avail + 1, used]],
    ["a used ring that is not aligned", [desc, avail, used + 2]],
    ["a descriptor table across the end of memory", [SIZE - 240, avail, used]],
    ["an available ring across the end of memory", [desc, SIZE - 36, used]],
    ["a used ring across the end of memory", [desc, avail, SIZE - 132]],
    ["a descriptor table outside memory", [SIZE, avail, used]],
    ["an available ring outside memory", [desc, 2 ** 40, used]],
    ["a used ring at the end of the address space", [desc, avail, 2 ** 64 - 2 ** 12]],
    ["a descriptor table beyond 2^53", [2 ** 63, avail, used]],
  ] as [string, [number, number, number]][])("refuse %s", (_, rings) => {
    const rig = place(rings);
    expect(rig.needsReset).toBe(true);
    expect(rig.takeInterrupts()).toBe(1);
    expect(rig.backend.run(0)).toBe(false);
  });

  it("refuse the hole, and take the memory above it", () => {
    expect(place([HOLE_START - 128, avail, used], 16, large).needsReset).toBe(true);
    expect(place([desc, HOLE_START, used], 16, large).needsReset).toBe(true);
    expect(place([desc, avail, HOLE_END - 4], 16, large).needsReset).toBe(true);
    expect(place([HOLE_START - 256, HOLE_END, HOLE_END + GiB - 64], 16, large).needsReset).toBe(false);
  });

  it.each([1, 2, 32768])("work in a queue of %s", (size) => {
    const ram = GuestMemory.create(4 * 2 ** 20);
    const rig = new Rig(probeModel(size), ram, (state) => new ProbeBackend(state, ram));
    const [queue] = rig.bringUp();
    const rounds = Math.min(3 * size, 70_000) + 3;
    for (let round = 0; round < rounds; round++) {
      queue!.submit([{ gpa: round % 4096, length: 4 }]);
      if (round % 2048 === 0 || size <= 2) rig.run();
    }
    rig.run();
    expect(rig.needsReset).toBe(false);
    expect(rig.backend.seen.length).toBe(rounds);
    expect(rig.backend.seen.every((chain, round) => chain.segments[0]!.gpa === round % 4096)).toBe(true);
    ram.release();
  });

  it("go round and round: the indices wrap at 65536", () => {
    const { rig, queue } = bench({ size: 256 });
    const total = 70_000;
    let back = 0;
    let sum = 0;
    rig.backend.answer = (chain) => chain.length[0]!;
    for (let sent = 0; sent < total;) {
      for (let batch = 0; batch < 200 && sent < total; batch++)
        queue.submit([{ gpa: 64, length: (sent++ % 1000) + 1 }]);
      rig.run();
      rig.backend.seen = [];
      for (const { length } of queue.takeUsed()) {
        back++;
        sum += length;
      }
    }
    expect(back).toBe(total);
    expect(sum).toBe(total * 500.5);
    expect(queue.usedIndex).toBe(total & 0xffff);
    expect(rig.needsReset).toBe(false);
  });
});

describe("a queue in service", () => {
  it("stays with the addresses it had, whatever the driver writes now", () => {
    const { rig, queue } = bench();
    rig.set(R.QueueSel, 0);
    for (const register of [
      R.QueueNum,
      R.QueueDescLow,
      R.QueueDescHigh,
      R.QueueDriverLow,
      R.QueueDeviceHigh,
    ]) {
      rig.set(register, 0xffff_fff0);
    }
    queue.submit([{ gpa: 0x5000, length: 1 }]);
    rig.run();
    expect(rig.backend.seen.length).toBe(1);
    expect(queue.takeUsed().length).toBe(1);
  });

  it("stops when the driver takes it out, and starts anew after a reset", () => {
    const { rig, queue } = bench();
    queue.submit([{ gpa: 0, length: 1 }]);
    rig.set(R.QueueReady, 0);
    rig.run();
    expect(rig.backend.seen).toEqual([]);
    rig.set(R.Status, 0);
    const resets = rig.backend.resets;
    const [fresh] = rig.bringUp();
    fresh!.submit([{ gpa: 7, length: 1 }]);
    rig.run();
    expect(rig.backend.seen.length).toBe(1);
    expect(rig.backend.resets).toBeGreaterThan(resets);
  });

  it("does nothing after a reset in the middle", () => {
    const { rig, queue } = bench();
    queue.submit([{ gpa: 0, length: 1 }]);
    queue.submit([{ gpa: 0, length: 1 }]);
    rig.backend.answer = () => BLOCKED;
    rig.run();
    rig.backend.answer = () => 0;
    rig.set(R.Status, 0);
    rig.run();
    rig.backend.synchronize();
    expect(rig.backend.seen.length).toBe(1);
    expect(queue.usedIndex).toBe(0);
    expect(rig.interrupts).toBe(0);
  });

  it("keeps a chain that is blocked, and shows it again", () => {
    const { rig, queue } = bench();
    const head = queue.submit([{ gpa: 0, length: 1 }]);
    rig.backend.answer = () => BLOCKED;
    expect(rig.backend.run(0)).toBe(false);
    expect(queue.usedIndex).toBe(0);
    rig.backend.answer = () => 5;
    expect(rig.backend.run(0)).toBe(false);
    expect(queue.takeUsed()).toEqual([{ id: head, length: 5 }]);
  });

  it("comes back for a chain that is unfinished", () => {
    const { rig, queue } = bench();
    queue.submit([{ gpa: 0, length: 1 }]);
    let turns = 3;
    rig.backend.answer = () => (--turns === 0 ? 9 : UNFINISHED);
    expect(rig.backend.run(0)).toBe(true);
    expect(rig.backend.run(0)).toBe(true);
    expect(rig.backend.run(0)).toBe(false);
    expect(queue.takeUsed()).toEqual([{ id: 0, length: 9 }]);
  });

  it("gives others their turn when its driver is quicker than the device", () => {
    const { rig, queue } = bench();
    let handled = 0;
    rig.backend.answer = () => {
      handled++;
      queue.submit([{ gpa: 0, length: 1 }]);
      return 0;
    };
    queue.submit([{ gpa: 0, length: 1 }]);
    expect(rig.backend.run(0)).toBe(true);
    expect(handled).toBeLessThanOrEqual(queue.size + 1);
  });

  it("is not run before DRIVER_OK, nor where its number is none", () => {
    const rig = new Rig(probeModel(16), memory, (state) => new ProbeBackend(state, memory));
    rig.negotiate();
    const queue = rig.makeQueue(0);
    queue.submit([{ gpa: 0, length: 1 }]);
    expect(rig.backend.run(0)).toBe(false);
    rig.start();
    expect(rig.backend.run(1)).toBe(false);
    expect(rig.backend.run(-1)).toBe(false);
    expect(rig.backend.seen).toEqual([]);
    rig.run();
    expect(rig.backend.seen.length).toBe(1);
  });
});

describe("notifications", () => {
  it("of used buffers stop on NO_INTERRUPT, without the event index", () => {
    const { rig, queue } = bench({ features: VERSION_1 });
    queue.setAvailFlags(1);
    queue.submit([{ gpa: 0, length: 1 }]);
    rig.run();
    expect(rig.takeInterrupts()).toBe(0);
    queue.setAvailFlags(0);
    queue.submit([{ gpa: 0, length: 1 }]);
    rig.run();
    expect(rig.takeInterrupts()).toBe(1);
    expect(queue.usedFlags).toBe(0);
  });

  it("of used buffers ignore NO_INTERRUPT with the event index", () => {
    const { rig, queue } = bench();
    queue.setAvailFlags(1);
    queue.submit([{ gpa: 0, length: 1 }]);
    rig.run();
    expect(rig.takeInterrupts()).toBe(1);
  });

  it("of available buffers are asked for when the queue is empty", () => {
    const { rig, queue } = bench();
    expect(queue.availEvent).toBe(0);
    for (let sent = 1; sent <= 40; sent++) {
      queue.submit([{ gpa: 0, length: 1 }]);
      rig.run();
      expect(queue.availEvent).toBe(sent);
    }
  });

  /** The rule of section 2.7.10.1, as the specification has it in C. */
  const vringNeedEvent = (event: number, next: number, old: number): boolean =>
    ((next - event - 1) & 0xffff) < ((next - old) & 0xffff);

  it("of used buffers follow vring_need_event, at every place of the index (property)", () => {
    const rig = new Rig(probeModel(256), memory, (state) => new ProbeBackend(state, memory));
    const [driver] = rig.bringUp(VERSION_1 | EVENT_IDX | INDIRECT_DESC);
    const base = rig.state.queueBase(0);
    const near = fc.tuple(fc.constantFrom(0, 0x7fff, 0x8000, 0xffff), fc.integer({ min: -3, max: 3 }));
    const index = fc.oneof(
      fc.nat(0xffff),
      near.map(([edge, by]) => (edge + by) & 0xffff),
    );
    const event = fc.oneof(
      index.map((value) => (): number => value),
      fc.integer({ min: -3, max: 260 }).map(
        (by) =>
          (old: number): number =>
            (old + by) & 0xffff,
      ),
    );
    let yes = 0;
    let no = 0;
    fc.assert(
      fc.property(index, fc.nat(256), event, (old, count, eventOf) => {
        rig.state.words[base + Q.NEXT_USED] = old;
        rig.state.words[base + Q.LAST_AVAIL] = 0;
        const queue = new Virtqueue(rig.state, memory, 0);
        for (let done = 0; done < count; done++) queue.complete(0);
        const used = eventOf(old);
        driver!.setUsedEvent(used);
        const expected = vringNeedEvent(used, (old + count) & 0xffff, old);
        expect(queue.shouldNotify()).toBe(expected);
        expect(queue.shouldNotify()).toBe(false);
        if (expected) yes++;
        else no++;
      }),
      { numRuns: 2000 },
    );
    expect(Math.min(yes, no)).toBeGreaterThan(100);
  });
});

describe("chains of every shape (property)", () => {
  const segment = fc.record({ gpa: fc.nat(0xffff).map((at) => 0x2_0000 + at), length: fc.nat(5000) });
  const chain = fc.record({
    readable: fc.array(segment, { maxLength: 6 }),
    writable: fc.array(segment, { maxLength: 6 }),
    indirect: fc.boolean(),
    written: fc.nat(0xffff_ffff),
  });

  it("arrive complete and in order, in batches of any size", () => {
    fc.assert(
      fc.property(fc.array(fc.array(chain, { maxLength: 4 }), { maxLength: 8 }), (batches) => {
        const { rig, queue } = bench({ size: 64 });
        const tables = rig.allocate(16 * 16 * 4);
        for (const batch of batches) {
          const sent = batch
            .map(({ readable, writable, ...rest }) => ({
              ...rest,
              segments: [
                ...readable.map((one) => ({ ...one, writable: false })),
                ...writable.map((one) => ({ ...one, writable: true })),
              ],
            }))
            .filter(({ segments }) => segments.length > 0);
          rig.backend.seen = [];
          let turn = 0;
          rig.backend.answer = () => sent[turn++]!.written;
          const heads = sent.map(({ segments, indirect }, index) =>
            indirect ? queue.submitIndirect(segments, tables + index * 256) : queue.submit(segments),
          );
          rig.run();
          expect(rig.needsReset).toBe(false);
          expect(rig.backend.seen.map((one) => one.segments)).toEqual(sent.map((one) => one.segments));
          expect(queue.takeUsed()).toEqual(
            sent.map(({ written }, index) => ({ id: heads[index], length: written })),
          );
        }
      }),
    );
  });

  it("never get past the checks: what a device sees is in memory, bounded and ordered", () => {
    const raw = fc.record({
      gpa: fc.oneof(
        fc.nat(SIZE + 100),
        fc.constantFrom(SIZE - 1, SIZE, 2n ** 64n - 1n, 2n ** 53n),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      ),
      length: fc.oneof(fc.nat(100), fc.nat(SIZE + 10), fc.nat(0xffff_ffff)),
      flags: fc.oneof(fc.nat(7), fc.nat(0xffff)),
      next: fc.oneof(fc.nat(17), fc.nat(0xffff)),
    });
    const table = fc.array(raw, { minLength: 16, maxLength: 16 });
    let good = 0;
    let bad = 0;
    fc.assert(
      fc.property(
        table,
        table,
        fc.array(fc.nat(17), { minLength: 1, maxLength: 16 }),
        (direct, inner, heads) => {
          const one = bench();
          const { rig, queue } = one;
          const at = rig.allocate(256);
          inner.forEach((descriptor, index) => queue.setDescriptor(index, descriptor, at));
          // Half of the indirect descriptors point at a real table.
          direct.forEach((descriptor, index) => {
            const aimed: RawDescriptor =
              (descriptor.flags & INDIRECT) !== 0 && index % 2 === 0
                ? { ...descriptor, gpa: at, length: 256, flags: INDIRECT }
                : descriptor;
            queue.setDescriptor(index, aimed);
          });
          for (const head of heads) queue.offer(head);
          rig.run();
          for (const { segments } of rig.backend.seen) {
            expect(segments.length).toBeLessThanOrEqual(16);
            let writable = false;
            for (const part of segments) {
              expect(part.gpa).toBeGreaterThanOrEqual(0);
              expect(part.gpa + part.length).toBeLessThanOrEqual(SIZE);
              if (part.writable !== true) expect(writable).toBe(false);
              writable ||= part.writable === true;
            }
          }
          const all = rig.backend.seen.length === heads.length;
          expect(rig.needsReset).toBe(!all);
          if (!all) expect(rig.get(R.InterruptStatus) & 2).toBe(2);
          good += rig.backend.seen.length;
          if (!all) bad++;
        },
      ),
      { numRuns: 500 },
    );
    expect(good).toBeGreaterThan(10);
    expect(bad).toBeGreaterThan(10);
  });
});
