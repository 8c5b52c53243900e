/**
 * Guests that send any packets at all, with lengths, ports, credits and states that make no sense, to a device that has honest
 * streams as well. Whatever they do: no exception, no growth, nothing read beside guest memory, and the honest streams go on.
 */
import fc from "fast-check";
import { readdirSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { GUARD_BYTE, guardedMemory } from "../../testing/driver.ts";
import { CID, VsockDriver, type Client, type GuestPacket } from "../../testing/vsock-driver.ts";
import { BUF_ALLOC } from "./credit.ts";
import { Op, SHUTDOWN_SEND } from "./packet.ts";
import { ANSWER_MS, MAX_CONNECTIONS, TX } from "./vsock.ts";

const guarded = guardedMemory(4 << 20);
afterAll(() => guarded.release());

const SERVICE = 80;
const HONEST = 5000;
const openFiles = (): number => readdirSync("/proc/self/fd").length;

const word = fc.oneof(
  fc.constantFrom(
    0,
    1,
    43,
    44,
    4096,
    BUF_ALLOC - 1,
    BUF_ALLOC,
    BUF_ALLOC + 1,
    0x7fff_ffff,
    0xffff_fffe,
    0xffff_ffff,
  ),
  fc.nat(0xffff_ffff),
  fc.nat(100_000),
);
/** Few ports, so that packets meet connections; never those of the honest streams. */
const port = fc.oneof(
  { weight: 5, arbitrary: fc.nat(5) },
  { weight: 1, arbitrary: word.filter((one) => one !== HONEST) },
);
const hostPort = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(SERVICE, SERVICE, 81, 82) },
  { weight: 3, arbitrary: fc.nat(7).map((index) => 2 ** 30 + index) },
  { weight: 1, arbitrary: word },
);
const cid = (usual: number): fc.Arbitrary<bigint> =>
  fc.oneof(
    { weight: 20, arbitrary: fc.constant(BigInt(usual)) },
    { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
  );
const packet = fc.record({
  kind: fc.constant("packet" as const),
  srcCid: cid(CID),
  dstCid: cid(2),
  srcPort: port,
  dstPort: hostPort,
  op: fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 1, max: 7 }) },
    { weight: 1, arbitrary: fc.nat(0xffff) },
  ),
  type: fc.oneof({ weight: 15, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
  flags: fc.oneof(fc.nat(3), word),
  bufAlloc: word,
  fwdCnt: word,
  len: fc.option(word),
  size: fc.oneof(fc.nat(200), fc.nat(70_000), fc.constantFrom(BUF_ALLOC, BUF_ALLOC + 1)),
  cuts: fc.array(fc.nat(60), { maxLength: 4 }),
});
const step = fc.oneof(
  { weight: 12, arbitrary: packet },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("raw" as const), bytes: fc.uint8Array({ maxLength: 80 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("client" as const),
      greeting: fc.oneof(
        fc.nat(5).map((to) => `CONNECT ${to}\n`),
        fc.constantFrom("CONN", "CONNECT 1\nwith words", "CONNECT 4294967296\n", "\n", "GET / HTTP/1.1\n"),
        fc.string({ maxLength: 40 }),
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("act" as const),
      which: fc.nat(20),
      action: fc.constantFrom("write", "read", "end", "close"),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "take" as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("time" as const), ms: fc.nat(2 * ANSWER_MS) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** A stream whose guest keeps to the rules, beside others. */
class HonestStream {
  readonly client: Client;
  readonly #driver: VsockDriver;
  readonly #hostPort: number;
  #received = 0;
  #round = 0;

  constructor(driver: VsockDriver) {
    this.#driver = driver;
    const { client, hostPort } = driver.fromHost(HONEST);
    this.client = client;
    this.#hostPort = hostPort;
  }

  /** Sends something each way, and expects it there. */
  check(take: () => GuestPacket[]): void {
    const text = `round ${this.#round++}`;
    this.#driver.send({
      srcPort: HONEST,
      dstPort: this.#hostPort,
      fwdCnt: this.#received,
      payload: Buffer.from(text),
    });
    expect(this.client.read()?.toString()).toBe(text);
    this.client.write(text);
    const mine = take().filter(({ dstPort }) => dstPort === HONEST);
    const got = Buffer.concat(mine.map(({ payload }) => payload)).toString();
    expect(got).toBe(text);
    this.#received += got.length;
  }
}

describe("a guest that sends anything", () => {
  it("harms nobody but its own streams (property)", () => {
    const guardRun = Buffer.alloc(24, GUARD_BYTE);
    const seen = { errors: 0, refused: 0, connections: 0, sentBytes: 0, receivedBytes: 0 };
    const filesBefore = openFiles();
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 50 }), (steps: Step[]) => {
        const driver = new VsockDriver(guarded.memory);
        try {
          driver.bringUp(32, 2000);
          driver.service(SERVICE);
          const clients: Client[] = [];
          const honest = new HonestStream(driver);
          const out: Buffer[] = [];
          const take = (): GuestPacket[] => {
            const packets = driver.take();
            for (const { payload } of packets) out.push(payload);
            return packets;
          };
          honest.check(take);
          for (const one of steps) {
            switch (one.kind) {
              case "packet": {
                const { len, size, cuts, ...fields } = one;
                // What the honest stream has is not the others' to break.
                const honestPort = fields.srcPort === HONEST ? 1 : fields.srcPort;
                const payload = Buffer.alloc(size, 0x5a);
                driver.send(
                  { ...fields, srcPort: honestPort, payload, ...(len === null ? {} : { len }) },
                  cuts,
                );
                break;
              }
              case "raw":
                driver.sendBytes(Buffer.from(one.bytes));
                break;
              case "client":
                clients.push(driver.client(one.greeting));
                break;
              case "act":
                act(clients[one.which % Math.max(clients.length, 1)], one.action, out);
                break;
              case "take":
                take();
                break;
              case "time":
                driver.host.advance(one.ms);
                break;
            }
            driver.settle();
          }
          take();
          honest.check(take);
          expect(driver.rig.needsReset).toBe(false);
          expect(guarded.intact()).toBe(true);
          expect(Buffer.concat(out).includes(guardRun)).toBe(false);
          const { counts } = driver.counters;
          for (const name of Object.keys(seen) as (keyof typeof seen)[]) seen[name] += counts[name];
        } finally {
          driver.close();
        }
      }),
      { numRuns: 150 },
    );
    // An attack that never gets anywhere is none.
    for (const [name, count] of Object.entries(seen)) expect(count, name).toBeGreaterThan(10);
    expect(openFiles()).toBeLessThanOrEqual(filesBefore + 1);
  }, 120_000);

  it("leaves no trace of a thousand streams that it never finishes to open or to close", () => {
    const driver = new VsockDriver(guarded.memory);
    try {
      driver.bringUp(64, 2000);
      const honest = new HonestStream(driver);
      const take = (): GuestPacket[] => driver.take();
      const service = driver.service(SERVICE, 4096);
      const filesBefore = openFiles();
      for (let count = 0; count < 1000; count++) {
        // One that the guest opens and never uses again, one that the host opens and the guest never answers.
        driver.send({ op: Op.REQUEST, srcPort: 10_000 + count, dstPort: SERVICE, bufAlloc: 0 });
        const client = count % 2 === 0 ? driver.client("CONNECT 3\n") : driver.client("CON");
        if (count % 100 === 0) honest.check(take);
        take();
        client.close();
      }
      expect(openFiles()).toBeLessThanOrEqual(filesBefore + 2 * MAX_CONNECTIONS);
      honest.check(take);
      // The other side of all those: a service that goes away.
      for (let count = 0; count < 1000; count++) service.accept().close();
      take();
      driver.host.advance(2 * ANSWER_MS);
      take();
      honest.check(take);
      expect(openFiles()).toBe(filesBefore);
      expect(driver.counters.counts.open).toBe(1);
      expect(driver.host.handlers.size).toBe(2);
    } finally {
      driver.close();
    }
  });

  it("gets no more memory by sending to a thousand clients that do not read", () => {
    const driver = new VsockDriver(guarded.memory);
    try {
      driver.bringUp(64, 64);
      const service = driver.service(SERVICE, 4096);
      const clients: Client[] = [];
      const STREAMS = 64;
      for (let stream = 0; stream < STREAMS; stream++)
        clients.push(driver.fromGuest(stream, SERVICE, service));
      const before = process.memoryUsage.rss();
      for (let round = 0; round < 12; round++) {
        for (let stream = 0; stream < STREAMS; stream++) {
          driver.send({ srcPort: stream, dstPort: SERVICE, payload: Buffer.alloc(65536) });
          driver.take();
        }
      }
      // Sooner or later each has sent more than it may.
      expect(driver.counters.counts).toMatchObject({
        open: 0,
        errors: STREAMS,
      });
      expect(process.memoryUsage.rss() - before).toBeLessThan(STREAMS * BUF_ALLOC + (40 << 20));
      for (const client of clients) client.close();
    } finally {
      driver.close();
    }
  });

  it("may keep all its packets to itself: the device waits without a sound", () => {
    const driver = new VsockDriver(guarded.memory);
    try {
      driver.bringUp(0);
      const clients = Array.from({ length: 50 }, (_, index) => driver.client(`CONNECT ${index}\nwords`));
      for (let turn = 0; turn < 5; turn++) expect(driver.host.turn()).toBe(0);
      expect(driver.host.woken.size).toBe(0);
      for (let sent = 0; sent < 40; sent++) driver.send({ srcPort: sent, dstPort: 1, flags: SHUTDOWN_SEND });
      expect(driver.queues[TX]!.usedIndex).toBe(40);
      expect(driver.host.turn()).toBe(0);
      for (const client of clients) client.close();
    } finally {
      driver.close();
    }
  });
});

function act(client: Client | undefined, action: string, out: Buffer[]): void {
  if (client === undefined || client.closed) return;
  try {
    if (action === "write") client.write(Buffer.alloc(5000, 0x33));
    else if (action === "read") out.push(client.read() ?? Buffer.alloc(0));
    else if (action === "end") client.endOutput();
    else client.close();
  } catch (error) {
    // Written to a connection that the device has ended.
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}
