/**
 * Drivers that write anything anywhere: registers, rings, descriptors and buffers at random, for every device. Whatever they
 * do, nothing outside guest memory is read or written, every call returns soon, and a device that gives up says so.
 */
import fc from "fast-check";
import { closeSync, fstatSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { rawDiskOn } from "../../disk/testing/raw-disk.ts";
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import { HostPort } from "../testing/console-driver.ts";
import { CID, Client, Service, TestHost } from "../testing/vsock-driver.ts";
import { GUARD_BYTE, guardedMemory, INDIRECT, ProbeBackend, probeModel, Rig } from "../testing/driver.ts";
import type { VirtioBackend } from "./backend.ts";
import { balloonModel, VirtioBalloon } from "./balloon/balloon.ts";
import { blkModel, VirtioBlk } from "./blk.ts";
import { consoleModel, VirtioConsole } from "./console.ts";
import { R } from "./mmio.ts";
import { rngModel, VirtioRng } from "./rng.ts";
import { W, type VirtioModel, type VirtioState } from "./state.ts";
import { connectUnix } from "./vsock/unix-socket.ts";
import { VirtioVsock, vsockModel } from "./vsock/vsock.ts";

const RAM = 128 * 1024;
const DISK = 64 * 1024;
/** Far more than any turn needs, on a slow machine too. */
const LONGEST_TURN_MS = 2000;

const guarded = guardedMemory(RAM);
const directory = mkdtempSync(join(tmpdir(), "tsvm-hostile-"));
afterAll(() => {
  guarded.release();
  rmSync(directory, { recursive: true });
});

/** A device under attack, and what the attack must not have done to the host. */
interface Target {
  readonly model: VirtioModel;
  readonly build: (state: VirtioState, memory: GuestMemory) => VirtioBackend;
  /** After each turn: the bytes that have left the guest. */
  readonly drain: () => Buffer;
  readonly close: () => void;
}

const TARGETS: Record<string, () => Target> = {
  probe: () => ({
    model: probeModel(16),
    build: (state, memory) => new ProbeBackend(state, memory),
    drain: () => Buffer.alloc(0),
    close: () => undefined,
  }),
  rng: () => ({
    model: rngModel(),
    build: (state, memory) => new VirtioRng(state, memory),
    drain: () => Buffer.alloc(0),
    close: () => undefined,
  }),
  balloon: () => ({
    model: balloonModel({ pages: 100, reporting: true, deflateOnOom: true }),
    // There is no file behind this memory: what is taken from it stays, and counts as an error.
    build: (state, memory) => new VirtioBalloon(state, memory),
    drain: () => Buffer.alloc(0),
    close: () => undefined,
  }),
  blk: () => {
    const fd = openSync(join(directory, "disk"), "w+");
    ftruncateSync(fd, DISK);
    return {
      model: blkModel({ size: DISK, readOnly: false }),
      build: (state, memory) =>
        new VirtioBlk(state, memory, rawDiskOn(fd, DISK), { readOnly: false, serial: "hostile" }),
      drain: () => {
        expect(fstatSync(fd).size).toBe(DISK);
        const bytes = Buffer.alloc(DISK);
        readSync(fd, bytes, 0, DISK, 0);
        return bytes;
      },
      close: () => closeSync(fd),
    };
  },
  console: () => {
    const hosts = [new HostPort(""), new HostPort("agent")];
    for (const host of hosts) host.write(Buffer.alloc(20_000, "input"));
    const size = { rows: 24, columns: 80 };
    return {
      model: consoleModel(hosts.length, size),
      build: (state, memory) => {
        const ports = hosts.map(({ port }) => port);
        return new VirtioConsole(state, memory, ports, size);
      },
      drain: () => Buffer.concat(hosts.map((host) => host.read())),
      close: () => hosts.forEach((host) => host.close()),
    };
  },
  vsock: () => {
    const path = join(directory, "v");
    const host = new TestHost();
    const listener = new Service(path);
    const clients = Array.from({ length: 4 }, (_, port) => {
      const client = new Client(connectUnix(path));
      client.write(`CONNECT ${port}\n${"input".repeat(1000)}`);
      return client;
    });
    let device: VirtioVsock | undefined;
    return {
      model: vsockModel(CID),
      build: (state, memory) =>
        (device = new VirtioVsock(state, memory, host, {
          cid: CID,
          listenFd: listener.fd,
          portPath: `${path}_`,
        })),
      drain: () => {
        host.turn();
        host.advance(500);
        return Buffer.concat(clients.map((client) => client.read(65536) ?? Buffer.alloc(0)));
      },
      close: () => {
        device?.close();
        for (const one of [...clients, listener, host]) one.close();
        rmSync(path);
      },
    };
  },
};

/** A sequence of numbers from a seed: memory is filled faster with it than by the test framework. */
function* noise(seed: number): Generator<number, never> {
  let state = seed | 1;
  for (;;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield state >>> 0;
  }
}

const inside = fc.oneof(
  fc.nat(RAM - 1),
  fc.nat(RAM / 4096 - 1).map((page) => page * 4096),
);
const edge = fc.integer({ min: -40, max: 40 }).map((by) => Math.abs(RAM + by));
const anywhere = fc.oneof(
  { weight: 6, arbitrary: inside },
  { weight: 2, arbitrary: edge },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 32, 2 ** 47, 2 ** 53, 2 ** 63, 2n ** 64n - 1n) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
);
const length = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(0, 1, 8, 15, 16, 17, 512, 513, 4096) },
  { weight: 3, arbitrary: fc.nat(8192) },
  { weight: 1, arbitrary: edge },
  { weight: 1, arbitrary: fc.nat(0xffff_ffff) },
);
const queue = fc.nat(5);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("descriptor" as const),
      queue,
      index: fc.nat(40),
      gpa: anywhere,
      length,
      flags: fc.oneof(fc.nat(3), fc.nat(3), fc.nat(7), fc.nat(0xffff)),
      next: fc.oneof(fc.nat(20), fc.nat(0xffff)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("offer" as const),
      queue,
      head: fc.oneof(fc.nat(20), fc.nat(0xffff)),
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("run" as const), queue }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("request" as const),
      queue,
      head: fc.nat(10),
      type: fc.constantFrom(0, 1, 4, 8, 11, 13, 99),
      sector: fc.oneof(fc.nat(130), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
      length: fc.constantFrom(16, 32, 512, 1024, 70_000),
      write: fc.boolean(),
      indirect: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("control" as const),
      id: fc.oneof(fc.nat(3), fc.nat(0xffff_ffff)),
      event: fc.nat(8),
      value: fc.nat(2),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("index" as const), queue, index: fc.nat(0xffff) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("noise" as const), at: inside, seed: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("register" as const),
      offset: fc.oneof(
        fc.constantFrom(...Object.values(R).filter((offset) => offset !== R.Status)),
        fc.nat(0xfff),
      ),
      size: fc.constantFrom(1, 2, 4, 4, 4),
      value: fc.oneof(fc.nat(64), fc.nat(0xffff_ffff)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("restart" as const),
      // Where the rings of each queue go, if not to places of their own.
      rings: fc.option(fc.tuple(anywhere, anywhere, anywhere)),
      features: fc.option(fc.bigInt({ min: 0n, max: 2n ** 34n - 1n })),
    }),
  },
);

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

class Attack {
  readonly rig: Rig;
  readonly #queues: ReturnType<Rig["makeQueue"]>[] = [];
  readonly #scratch: number;

  constructor(target: Target) {
    this.rig = new Rig(target.model, guarded.memory, (state) => target.build(state, guarded.memory));
    this.#queues = this.rig.bringUp();
    this.#scratch = this.rig.allocate(4096);
  }

  do(one: Step): void {
    const { rig } = this;
    switch (one.kind) {
      case "descriptor": {
        const queue = this.#queue(one.queue);
        queue.setDescriptor(one.index % queue.size, one);
        break;
      }
      case "offer":
        this.#queue(one.queue).offer(one.head);
        break;
      case "index":
        this.#queue(one.queue).setAvailIndex(one.index);
        break;
      case "request":
        this.#request(one);
        break;
      case "control": {
        const queue = this.#queues[3];
        if (queue === undefined) return;
        rig.ram.setUint32(this.#scratch + 1024, one.id, true);
        rig.ram.setUint16(this.#scratch + 1028, one.event, true);
        rig.ram.setUint16(this.#scratch + 1030, one.value, true);
        queue.submit([{ gpa: this.#scratch + 1024, length: 8 }]);
        this.run(3);
        break;
      }
      case "noise": {
        const numbers = noise(one.seed);
        for (let at = one.at; at < Math.min(one.at + 2000, RAM); at++) {
          const { value } = numbers.next();
          rig.bytes[at] = (value & 0xff) === GUARD_BYTE ? 0 : value;
        }
        break;
      }
      case "register":
        rig.transport.write(one.offset, one.size, one.value);
        rig.transport.read(one.offset, one.size);
        break;
      case "restart":
        this.#restart(one);
        break;
      case "run":
        this.run(one.queue);
        break;
    }
  }

  /** A request that is nearly right: devices do their work on it. */
  #request(one: Extract<Step, { kind: "request" }>): void {
    const { rig } = this;
    const header = this.#scratch;
    const table = this.#scratch + 512;
    rig.ram.setUint32(header, one.type, true);
    rig.ram.setBigUint64(header + 8, BigInt(one.sector), true);
    const queue = this.#queue(one.queue);
    const segments = [
      { gpa: header, length: 16 },
      { gpa: 0x1_0000, length: one.length, writable: one.write },
      { gpa: header + 64, length: 1, writable: true },
    ];
    if (one.indirect) {
      queue.link(segments, 0, table, 3);
      queue.setDescriptor(one.head % queue.size, { gpa: table, length: 48, flags: INDIRECT });
    } else queue.link(segments, one.head % queue.size);
    queue.offer(one.head % queue.size);
    this.run(one.queue);
  }

  #restart({ rings, features }: Extract<Step, { kind: "restart" }>): void {
    const { rig } = this;
    rig.set(R.Status, 0);
    rig.negotiate(features === null ? rig.offered : (features & rig.offered) | (1n << 32n));
    for (const [index, queue] of this.#queues.entries()) {
      const own = [queue.desc, queue.avail, queue.used] as const;
      const at = rings === null ? own : (rings.map(Number) as [number, number, number]);
      rig.setQueue(index, queue.size, at);
      queue.setAvailIndex(0);
    }
    rig.start();
  }

  #queue(index: number): ReturnType<Rig["makeQueue"]> {
    return this.#queues[index % this.#queues.length]!;
  }

  run(index: number): void {
    const { rig } = this;
    const brokenBefore = rig.needsReset;
    const interrupts = rig.interrupts;
    const start = performance.now();
    // A few turns: a hostile driver may ask for more of them for ever, one at a time.
    for (let turn = 0; turn < 4 && rig.backend.run(index % this.#queues.length); turn++);
    expect(performance.now() - start).toBeLessThan(LONGEST_TURN_MS);
    if (rig.needsReset && !brokenBefore) {
      expect(rig.interrupts).toBeGreaterThan(interrupts);
      expect(rig.get(R.InterruptStatus) & 2).toBe(2);
    }
  }
}

describe.each(Object.entries(TARGETS))("a hostile driver of %s", (name, make) => {
  it("harms nobody but its guest (property)", () => {
    const guardRun = Buffer.alloc(24, GUARD_BYTE);
    let gaveUp = 0;
    let worked = 0;
    fc.assert(
      fc.property(fc.nat(), fc.array(step, { minLength: 1, maxLength: 60 }), (seed, steps) => {
        const numbers = noise(seed);
        const ram = guarded.memory.viewOf(0, RAM);
        // Small numbers look like flags, lengths and indices more often than large ones do.
        for (let at = 0; at < RAM; at++) ram[at] = at % 3 === 0 ? numbers.next().value & 0x3f : 0;
        const target = make();
        try {
          const attack = new Attack(target);
          for (const one of steps) {
            attack.do(one);
            expect(attack.rig.state.words[W.LOCK]).toBe(0);
          }
          for (let index = 0; index < target.model.queueSizes.length; index++) attack.run(index);
          expect(guarded.intact()).toBe(true);
          // Nothing of what lies around guest memory has left through the device.
          expect(target.drain().includes(guardRun)).toBe(false);
          if (attack.rig.needsReset) gaveUp++;
          if (attack.rig.interrupts > 0) worked++;
        } finally {
          target.close();
        }
      }),
      { numRuns: 250 },
    );
    // An attack that the device never notices, or that never gets it to work, is none.
    expect(gaveUp, `times that ${name} gave up`).toBeGreaterThan(10);
    expect(worked, `times that ${name} did something`).toBeGreaterThan(20);
  }, 60_000);
});
