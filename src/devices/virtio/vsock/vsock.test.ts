import { readdirSync, readSync } from "node:fs";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { guardedMemory } from "../../testing/driver.ts";
import { CID, VsockDriver, type Client, type GuestPacket } from "../../testing/vsock-driver.ts";
import { R } from "../mmio.ts";
import { BUF_ALLOC } from "./credit.ts";
import { Op, SHUTDOWN_BOTH, SHUTDOWN_RCV, SHUTDOWN_SEND } from "./packet.ts";
import { ANSWER_MS, GREETING_MS, MAX_CONNECTIONS, MAX_GREETINGS, RX, TX } from "./vsock.ts";

const guarded = guardedMemory(8 << 20);
afterAll(() => guarded.release());
const drivers: VsockDriver[] = [];
afterEach(() => {
  for (const driver of drivers.splice(0)) driver.close();
  expect(guarded.intact()).toBe(true);
});

function newDriver(): VsockDriver {
  const driver = new VsockDriver(guarded.memory);
  drivers.push(driver);
  return driver;
}

function ready(buffers?: number, size?: number): VsockDriver {
  const driver = newDriver();
  driver.bringUp(buffers, size);
  return driver;
}

const ops = (packets: readonly GuestPacket[]): number[] => packets.map(({ op }) => op);
const bytesOf = (packets: readonly GuestPacket[]): Buffer =>
  Buffer.concat(packets.map(({ payload }) => payload));
const pattern = (length: number, seed = 1): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, at) => (at * 31 + seed) ^ (at >> 8)));

function openFiles(): number {
  return readdirSync("/proc/self/fd").length;
}

describe("the model", () => {
  it("offers streams and says the guest's context ID", () => {
    const driver = newDriver();
    expect(driver.rig.get(R.DeviceID)).toBe(19);
    expect(driver.rig.offered & 0xfn).toBe(1n);
    expect([driver.rig.transport.read(R.Config, 4), driver.rig.transport.read(R.Config + 4, 4)]).toEqual([
      CID,
      0,
    ]);
  });
});

describe("a connection from the host", () => {
  it("asks the guest, says OK with the port of the host, and carries bytes both ways", () => {
    const driver = ready();
    const client = driver.client("CONNECT 1234\n");
    const [request, ...rest] = driver.take();
    expect(rest).toEqual([]);
    expect(request).toMatchObject({
      srcCid: 2n,
      dstCid: BigInt(CID),
      dstPort: 1234,
      len: 0,
      type: 1,
      op: Op.REQUEST,
      flags: 0,
      bufAlloc: BUF_ALLOC,
      fwdCnt: 0,
    });
    expect(request!.srcPort).toBeGreaterThanOrEqual(2 ** 30);
    expect(client.read()!.length).toBe(0);
    const ports = { srcPort: 1234, dstPort: request!.srcPort };
    driver.send({ ...ports, op: Op.RESPONSE });
    expect(client.read()!.toString()).toBe(`OK ${request!.srcPort}\n`);
    client.write("question");
    expect(driver.take()).toMatchObject([
      { op: Op.RW, len: 8, srcPort: ports.dstPort, payload: Buffer.from("question") },
    ]);
    driver.send({ ...ports, payload: Buffer.from("answer") });
    expect(client.read()!.toString()).toBe("answer");
    expect(driver.counters.counts).toEqual({
      sentPackets: 2,
      sentBytes: 6,
      receivedPackets: 2,
      receivedBytes: 8,
      connections: 1,
      open: 1,
      refused: 0,
      errors: 0,
    });
  });

  it("does not lose what the client sends before it is answered", () => {
    const driver = ready();
    driver.client("CONNECT 5\nearly words");
    const [request] = driver.take();
    driver.send({ op: Op.RESPONSE, srcPort: 5, dstPort: request!.srcPort });
    expect(bytesOf(driver.take()).toString()).toBe("early words");
  });

  it("takes a greeting in pieces", () => {
    const driver = ready();
    const client = driver.client("CONN");
    client.write("ECT 7");
    expect(driver.take()).toEqual([]);
    client.write("\n");
    expect(driver.take()).toMatchObject([{ op: Op.REQUEST, dstPort: 7 }]);
  });

  it.each([
    "connect 7\n",
    "CONNECT\n",
    "CONNECT 4294967295\n",
    "CONNECT -1\n",
    "CONNECT 7 \n",
    "\n",
    "x".repeat(32),
  ])("is closed after the greeting %j", (greeting) => {
    const driver = ready();
    const client = driver.client(greeting);
    expect(driver.take()).toEqual([]);
    expect(client.read()).toBeUndefined();
  });

  it("is closed where the guest refuses, without a word", () => {
    const driver = ready();
    const client = driver.client("CONNECT 9\n");
    const [request] = driver.take();
    driver.send({ op: Op.RST, srcPort: 9, dstPort: request!.srcPort });
    expect(client.read()).toBeUndefined();
    expect(driver.take()).toEqual([]);
    expect(driver.counters.counts).toMatchObject({ refused: 1, open: 0, connections: 0 });
  });

  it("is closed where the guest does not answer in time, and the guest hears of it", () => {
    const driver = ready();
    const client = driver.client("CONNECT 9\n");
    driver.take();
    driver.host.advance(ANSWER_MS - 1);
    expect(client.read()!.length).toBe(0);
    driver.host.advance(1);
    expect(client.read()).toBeUndefined();
    expect(ops(driver.take())).toEqual([Op.RST]);
    expect(driver.counters.counts.refused).toBe(1);
    driver.host.advance(10 * ANSWER_MS);
    expect(driver.host.alarms).toEqual([]);
  });

  it("that the guest is never told of leaves no trace: a guest that takes no packets costs nothing", () => {
    const driver = ready(0);
    for (let count = 0; count < 100; count++) driver.client("CONNECT 9\n");
    driver.host.advance(ANSWER_MS);
    driver.settle();
    // Buffers at last: nothing is left to be said.
    driver.queues[RX]!.submit([{ gpa: driver.rig.allocate(100), length: 100, writable: true }]);
    driver.notify(RX);
    expect(driver.queues[RX]!.takeUsed()).toEqual([]);
  });

  it("whose client goes away before the guest has answered is taken back", () => {
    const driver = ready();
    const client = driver.client("CONNECT 9\n");
    driver.take();
    client.close();
    expect(ops(driver.take())).toEqual([Op.RST]);
  });

  it("gets a port of its own, for each port of the guest", () => {
    const driver = ready();
    const ports = Array.from({ length: 20 }, () => driver.fromHost(7).hostPort);
    expect(new Set(ports).size).toBe(20);
  });

  it("waits for a guest that has no driver yet", () => {
    const driver = newDriver();
    const client = driver.client("CONNECT 7\n");
    driver.host.advance(5 * ANSWER_MS);
    expect(client.read()!.length).toBe(0);
    driver.bringUp();
    expect(driver.take()).toMatchObject([{ op: Op.REQUEST, dstPort: 7 }]);
  });
});

describe("clients that say nothing", () => {
  it("are closed after a while, and others get their turn", () => {
    const driver = ready();
    const silent = Array.from({ length: MAX_GREETINGS }, () => driver.client());
    const late = driver.client("CONNECT 7\n");
    expect(driver.take()).toEqual([]);
    expect(late.read()!.length).toBe(0);
    driver.host.advance(GREETING_MS);
    expect(silent.every((client) => client.read() === undefined)).toBe(true);
    expect(driver.take()).toMatchObject([{ op: Op.REQUEST, dstPort: 7 }]);
  });

  it("are closed in time although others have more of it", () => {
    const driver = ready();
    driver.client("CONNECT 7\n");
    driver.take();
    for (let round = 0; round < 3; round++) {
      const silent = driver.client("CONN");
      driver.host.advance(GREETING_MS - 1);
      expect(silent.read()!.length).toBe(0);
      driver.host.advance(1);
      expect(silent.read()).toBeUndefined();
    }
    expect(driver.take()).toEqual([]);
    driver.host.advance(ANSWER_MS - 3 * GREETING_MS);
    expect(ops(driver.take())).toEqual([Op.RST]);
  });

  it("that go away make room at once", () => {
    const driver = ready();
    const silent = Array.from({ length: MAX_GREETINGS }, () => driver.client());
    driver.client("CONNECT 7\n");
    silent[0]!.close();
    expect(driver.take()).toMatchObject([{ op: Op.REQUEST, dstPort: 7 }]);
  });
});

describe("a connection from the guest", () => {
  it("goes to the socket of that port", () => {
    const driver = ready();
    const service = driver.service(80);
    driver.send({ op: Op.REQUEST, srcPort: 1000, dstPort: 80, payload: Buffer.from("ignored") });
    expect(driver.take()).toMatchObject([
      { op: Op.RESPONSE, srcPort: 80, dstPort: 1000, bufAlloc: BUF_ALLOC },
    ]);
    const client = service.accept();
    driver.send({ srcPort: 1000, dstPort: 80, payload: Buffer.from("GET") });
    expect(client.read()!.toString()).toBe("GET");
    client.write("200");
    expect(bytesOf(driver.take()).toString()).toBe("200");
    client.close();
  });

  it("is refused where there is none, or none that listens, or one that has too much to do", () => {
    const driver = ready();
    const refusal = { op: Op.RST, srcCid: 2n, dstCid: BigInt(CID), dstPort: 1000, type: 1 };
    driver.send({ op: Op.REQUEST, srcPort: 1000, dstPort: 81 });
    expect(driver.take()).toMatchObject([{ ...refusal, srcPort: 81 }]);
    driver.service(82).close();
    driver.send({ op: Op.REQUEST, srcPort: 1000, dstPort: 82 });
    expect(driver.take()).toMatchObject([{ ...refusal, srcPort: 82 }]);
    driver.service(83, 0);
    for (let port = 1; port <= 5; port++) driver.send({ op: Op.REQUEST, srcPort: port, dstPort: 83 });
    const answers = ops(driver.take());
    expect(answers).toHaveLength(5);
    expect(answers.at(-1)).toBe(Op.RST);
    expect(driver.counters.counts).toMatchObject({
      refused: 2 + answers.filter((op) => op === Op.RST).length,
    });
  });

  it("is refused beyond the limit, and those that are there go on", () => {
    const driver = ready(64, 64);
    const service = driver.service(80, 4096);
    const clients: Client[] = [];
    const before = openFiles();
    for (let port = 1; port <= MAX_CONNECTIONS + 10; port++) {
      driver.send({ op: Op.REQUEST, srcPort: port, dstPort: 80 });
      const [answer] = driver.take();
      expect(answer!.op).toBe(port <= MAX_CONNECTIONS ? Op.RESPONSE : Op.RST);
      if (answer!.op === Op.RESPONSE) clients.push(service.accept());
    }
    driver.send({ srcPort: 17, dstPort: 80, payload: Buffer.from("still here") });
    expect(clients[16]!.read()!.toString()).toBe("still here");
    // The device's reset closes them all.
    driver.rig.set(R.Status, 0);
    driver.rig.backend.synchronize();
    expect(clients.every((client) => client.read() === undefined)).toBe(true);
    for (const client of clients) client.close();
    expect(openFiles()).toBe(before);
    expect(driver.counters.counts).toMatchObject({ open: 0, refused: 10, connections: MAX_CONNECTIONS });
  });
});

describe("the end of a stream", () => {
  it("of the client is told after its last bytes, and the other direction goes on", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    client.write("last words");
    client.endOutput();
    const packets = driver.take();
    expect(ops(packets)).toEqual([Op.RW, Op.SHUTDOWN]);
    expect(packets[1]!.flags).toBe(SHUTDOWN_SEND);
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.from("reply") });
    expect(client.read()!.toString()).toBe("reply");
    driver.send({ op: Op.SHUTDOWN, srcPort: 7, dstPort: hostPort, flags: SHUTDOWN_BOTH });
    expect(ops(driver.take())).toEqual([Op.RST]);
    expect(client.read()).toBeUndefined();
  });

  it("of the guest is the end for the client, whose direction goes on", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.from("last") });
    driver.send({ op: Op.SHUTDOWN, srcPort: 7, dstPort: hostPort, flags: SHUTDOWN_SEND });
    expect(client.read()!.toString()).toBe("last");
    expect(client.read()).toBeUndefined();
    client.write("reply");
    expect(bytesOf(driver.take()).toString()).toBe("reply");
    // Both ways are over, in two steps.
    driver.send({ op: Op.SHUTDOWN, srcPort: 7, dstPort: hostPort, flags: SHUTDOWN_RCV });
    expect(ops(driver.take())).toEqual([Op.RST]);
    expect(() => client.write("x")).toThrow("EPIPE");
  });

  it("of the guest's wish to receive breaks the client's pipe", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    driver.send({ op: Op.SHUTDOWN, srcPort: 7, dstPort: hostPort, flags: SHUTDOWN_RCV });
    expect(() => client.write("x")).toThrow("EPIPE");
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.from("still sending") });
    expect(client.read()!.toString()).toBe("still sending");
    client.close();
    expect(driver.take()).toMatchObject([{ op: Op.SHUTDOWN, flags: SHUTDOWN_BOTH }]);
  });

  it("comes after what the client has not taken yet", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    const text = pattern(BUF_ALLOC);
    for (let at = 0; at < text.length; at += 65536) {
      driver.send({ srcPort: 7, dstPort: hostPort, payload: text.subarray(at, at + 65536) });
    }
    driver.send({ srcPort: 7, dstPort: hostPort, payload: pattern(50_000, 2) });
    driver.send({ op: Op.SHUTDOWN, srcPort: 7, dstPort: hostPort, flags: SHUTDOWN_BOTH });
    // Confirmed at once: the guest may forget the connection, and use its ports again.
    expect(ops(driver.take()).at(-1)).toBe(Op.RST);
    driver.send({ op: Op.RST, srcPort: 7, dstPort: hostPort });
    driver.host.advance(10 * ANSWER_MS);
    expect(readAll(driver, client).equals(Buffer.concat([text, pattern(50_000, 2)]))).toBe(true);
  });

  it("that is regular does not look broken off to a client whose bytes the guest has not wanted", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7, 0);
    client.write(pattern(100_000));
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.from("done"), bufAlloc: 0 });
    driver.send({ op: Op.SHUTDOWN, srcPort: 7, dstPort: hostPort, flags: SHUTDOWN_BOTH });
    expect(readSync(client.fd, Buffer.alloc(10))).toBe(4);
    expect(readSync(client.fd, Buffer.alloc(10))).toBe(0);
  });

  it("of a client that has closed is told as such, and broken off if the guest does not confirm it", () => {
    const driver = ready();
    const { client } = driver.fromHost(7);
    client.write("bye");
    client.close();
    const packets = driver.take();
    expect(ops(packets)).toEqual([Op.RW, Op.SHUTDOWN]);
    expect(packets[1]!.flags).toBe(SHUTDOWN_BOTH);
    driver.host.advance(ANSWER_MS);
    expect(ops(driver.take())).toEqual([Op.RST]);
    expect(driver.counters.counts.open).toBe(0);
  });

  it("of a client that closes after having ended its output is told too", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    client.endOutput();
    expect(driver.take()).toMatchObject([{ op: Op.SHUTDOWN, flags: SHUTDOWN_SEND }]);
    client.close();
    expect(driver.take()).toMatchObject([{ op: Op.SHUTDOWN, flags: SHUTDOWN_BOTH }]);
    driver.send({ op: Op.RST, srcPort: 7, dstPort: hostPort });
    expect(driver.take()).toEqual([]);
  });

  it("is a reset where the client goes without having read all", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.from("unread") });
    client.close();
    expect(ops(driver.take())).toEqual([Op.RST]);
  });

  it("by a reset of the guest is the end for the client", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    driver.send({ op: Op.RST, srcPort: 7, dstPort: hostPort });
    expect(client.read()).toBeUndefined();
    expect(driver.take()).toEqual([]);
    expect(driver.counters.counts).toMatchObject({ open: 0, errors: 0 });
  });
});

/** All that the client gets until the stream ends or rests. */
function readAll(driver: VsockDriver, client: Client): Buffer {
  const pieces: Buffer[] = [];
  for (;;) {
    driver.settle();
    const piece = client.read(30_000);
    if (piece === undefined || piece.length === 0) return Buffer.concat(pieces);
    pieces.push(piece);
  }
}

describe("credit", () => {
  it("of the guest is never exceeded; the device asks once for more, and goes on when told", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7, 10_000);
    const text = pattern(25_000);
    client.write(text);
    let packets = driver.take();
    expect(bytesOf(packets).equals(text.subarray(0, 10_000))).toBe(true);
    expect(ops(packets).filter((op) => op === Op.CREDIT_REQUEST)).toHaveLength(1);
    const update = { op: Op.CREDIT_UPDATE, srcPort: 7, dstPort: hostPort, bufAlloc: 10_000 };
    driver.send({ ...update, fwdCnt: 0 });
    expect(driver.take()).toEqual([]);
    driver.send({ ...update, fwdCnt: 4000 });
    packets = driver.take();
    expect(bytesOf(packets).equals(text.subarray(10_000, 14_000))).toBe(true);
    expect(ops(packets).at(-1)).toBe(Op.CREDIT_REQUEST);
    // A smaller buffer than before, and a count of more than was sent: nothing, and no harm.
    driver.send({ ...update, bufAlloc: 5000, fwdCnt: 4000 });
    driver.send({ ...update, fwdCnt: 20_000 });
    expect(driver.take()).toEqual([]);
    driver.send({ ...update, bufAlloc: 0xffff_ffff, fwdCnt: 14_000 });
    expect(bytesOf(driver.take()).equals(text.subarray(14_000))).toBe(true);
  });

  it("of none does not keep the end of the stream from the guest", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7, 0);
    expect(driver.take()).toEqual([]);
    client.endOutput();
    expect(driver.take()).toMatchObject([{ op: Op.SHUTDOWN, flags: SHUTDOWN_SEND }]);
    client.close();
    expect(driver.take()).toMatchObject([{ op: Op.SHUTDOWN, flags: SHUTDOWN_BOTH }]);
    driver.send({ op: Op.RST, srcPort: 7, dstPort: hostPort });
  });

  it("of the host is told when asked for", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.alloc(1000) });
    expect(driver.take()).toEqual([]);
    driver.send({ op: Op.CREDIT_REQUEST, srcPort: 7, dstPort: hostPort });
    expect(driver.take()).toMatchObject([{ op: Op.CREDIT_UPDATE, bufAlloc: BUF_ALLOC, fwdCnt: 1000 }]);
    client.read();
  });

  it("of the host is told when the guest is about to run out of it", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    const updates: GuestPacket[] = [];
    for (let count = 0; count < 8; count++) {
      driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.alloc(65536) });
      client.read();
      updates.push(...driver.take());
    }
    expect(updates.length).toBeGreaterThanOrEqual(2);
    expect(new Set(ops(updates))).toEqual(new Set([Op.CREDIT_UPDATE]));
    expect(updates.at(-1)!.fwdCnt).toBeGreaterThan(5 * 65536);
  });

  it("of the host is what is kept for a client that does not read, byte for byte, and no more", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    const ports = { srcPort: 7, dstPort: hostPort };
    const sent: Buffer[] = [];
    let told = 0;
    let bytes = 0;
    // As a guest that keeps to its credit: until that is used up.
    for (let seed = 0; bytes - told + 10_000 <= BUF_ALLOC; seed++) {
      const piece = pattern(10_000, seed);
      sent.push(piece);
      bytes += piece.length;
      driver.send({ ...ports, payload: piece });
      for (const { fwdCnt } of driver.take()) told = fwdCnt;
    }
    expect(bytes).toBeGreaterThan(BUF_ALLOC + 100_000);
    expect(driver.counters.counts.errors).toBe(0);
    expect(readAll(driver, client).equals(Buffer.concat(sent))).toBe(true);
    // There is room again, and the guest knows.
    expect(driver.take().at(-1)).toMatchObject({ op: Op.CREDIT_UPDATE });
    driver.send({ ...ports, payload: Buffer.alloc(BUF_ALLOC / 2) });
    expect(driver.counters.counts.errors).toBe(0);
  });

  it("exceeded by the guest breaks the connection off", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.alloc(BUF_ALLOC + 1) });
    expect(ops(driver.take())).toEqual([Op.RST]);
    expect(client.read()).toBeUndefined();
    expect(driver.counters.counts).toMatchObject({ errors: 1, open: 0 });
  });
});

describe("receive buffers", () => {
  it("that are missing leave the bytes with the client, who is held back", () => {
    const driver = ready(2, 1044);
    const { client } = driver.fromHost(7);
    const text = pattern(400_000);
    let wrote = client.write(text);
    const packets = driver.take(true);
    expect(bytesOf(packets).equals(text.subarray(0, 2000))).toBe(true);
    expect(driver.host.turn()).toBe(0);
    // Full, and the device reads nothing: no more is taken from the client than fits into its socket.
    for (let piece = 1; piece > 0; driver.settle()) wrote += piece = client.write(text.subarray(wrote));
    expect(wrote).toBeLessThan(400_000);
    const seen = [bytesOf(packets)];
    for (let turn = 0; turn < 1000 && Buffer.concat(seen).length < text.length; turn++) {
      driver.giveBack();
      seen.push(bytesOf(driver.take(true)));
      wrote += client.write(text.subarray(wrote));
      driver.settle();
    }
    expect(Buffer.concat(seen).equals(text)).toBe(true);
  });

  it("are shared out in turn", () => {
    const driver = ready(1, 144);
    const streams = [7, 8, 9].map((port) => driver.fromHost(port));
    for (const { client } of streams) client.write(pattern(1000));
    const order: number[] = [];
    for (let turn = 0; turn < 12; turn++) {
      order.push(...driver.take(true).map(({ dstPort }) => dstPort));
      driver.giveBack(1);
    }
    expect(order.length).toBeGreaterThanOrEqual(12);
    // The first was alone when the first buffer was filled.
    for (let at = 1; at + 3 <= order.length; at += 3) {
      expect(new Set(order.slice(at, at + 3))).toEqual(new Set([7, 8, 9]));
    }
  });

  it("in pieces are filled across their borders", () => {
    const driver = ready(0);
    driver.client("CONNECT 7\n");
    const at = driver.rig.allocate(300);
    const pieces = [10, 1, 30, 3, 256].map((length, index, all) => ({
      gpa: at + all.slice(0, index).reduce((sum, one) => sum + one, 0),
      length,
      writable: true,
    }));
    driver.queues[RX]!.submit(pieces);
    driver.notify(RX);
    expect(driver.queues[RX]!.takeUsed()).toMatchObject([{ length: 44 }]);
    expect(driver.rig.ram.getUint32(at + 20, true)).toBe(7);
    const hostPort = driver.rig.ram.getUint32(at + 16, true);
    driver.send({ op: Op.RESPONSE, srcPort: 7, dstPort: hostPort });
  });

  it("without room for a packet are a mistake of the driver", () => {
    const driver = ready(1, 44);
    driver.client("CONNECT 7\n");
    expect(driver.rig.needsReset).toBe(true);
  });
});

describe("packets that make no sense", () => {
  const refused = (driver: VsockDriver, packet: Partial<GuestPacket>): GuestPacket[] => {
    driver.send({ srcPort: 7, dstPort: 70, ...packet });
    return driver.take();
  };

  it("are refused where there is somebody to tell", () => {
    const driver = ready();
    driver.service(70);
    for (const op of [0, Op.RESPONSE, Op.SHUTDOWN, Op.RW, Op.CREDIT_UPDATE, Op.CREDIT_REQUEST, 8, 0xffff]) {
      expect(refused(driver, { op })).toMatchObject([
        { op: Op.RST, srcPort: 70, dstPort: 7, srcCid: 2n, type: 1 },
      ]);
    }
    // A packet for another machine, and one of a kind that there is not: answered as whom it was meant for.
    const other = (77n << 32n) | 5n;
    expect(refused(driver, { op: Op.REQUEST, dstCid: other })).toMatchObject([{ op: Op.RST, srcCid: other }]);
    expect(refused(driver, { op: Op.REQUEST, type: 2 })).toMatchObject([{ op: Op.RST, type: 2 }]);
    expect(driver.counters.counts.open).toBe(0);
  });

  it("are dropped where there is nobody", () => {
    const driver = ready();
    expect(refused(driver, { op: Op.RST })).toEqual([]);
    expect(refused(driver, { op: Op.REQUEST, srcCid: 4n })).toEqual([]);
    expect(refused(driver, { op: Op.REQUEST, srcCid: (1n << 32n) | BigInt(CID) })).toEqual([]);
    driver.sendBytes(Buffer.alloc(43));
    driver.sendBytes(Buffer.alloc(0));
    expect(driver.take()).toEqual([]);
    expect(driver.counters.counts.errors).toBe(4);
    expect(driver.rig.needsReset).toBe(false);
    expect(driver.queues[TX]!.takeUsed().map(({ length }) => length)).toEqual([0, 0, 0, 0, 0]);
  });

  it.each([
    ["says that it is longer than it is", { payload: Buffer.alloc(10), len: 11 }],
    ["says that it is very much longer", { payload: Buffer.alloc(10), len: 0xffff_ffff }],
    ["asks for a connection that there is", { op: Op.REQUEST }],
    ["accepts a second time", { op: Op.RESPONSE }],
    ["has an operation that there is not", { op: 99 }],
  ])("break off the connection: one that %s", (_what, packet) => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    const other = driver.fromHost(8);
    driver.send({ srcPort: 7, dstPort: hostPort, ...packet });
    expect(driver.take()).toMatchObject([{ op: Op.RST, dstPort: 7, srcPort: hostPort }]);
    expect(client.read()).toBeUndefined();
    driver.send({ srcPort: 8, dstPort: other.hostPort, payload: Buffer.from("unharmed") });
    expect(other.client.read()!.toString()).toBe("unharmed");
  });

  it("break off the connection: data after the end, or before the beginning", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    driver.send({ op: Op.SHUTDOWN, srcPort: 7, dstPort: hostPort, flags: SHUTDOWN_SEND });
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.from("more") });
    expect(ops(driver.take())).toEqual([Op.RST]);
    expect(client.read()).toBeUndefined();
    for (const op of [Op.RW, Op.SHUTDOWN]) {
      const early = driver.client("CONNECT 9\n");
      const [request] = driver.take();
      driver.send({ op, srcPort: 9, dstPort: request!.srcPort, payload: Buffer.from("early") });
      expect(ops(driver.take())).toEqual([Op.RST]);
      expect(early.read()).toBeUndefined();
    }
  });

  it("may have more bytes than they say: those are not part of the stream", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.from("seen and unseen"), len: 4 });
    driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.from("unseen"), len: 0 });
    driver.send({ op: Op.CREDIT_UPDATE, srcPort: 7, dstPort: hostPort, payload: Buffer.from("unseen") });
    expect(client.read()!.toString()).toBe("seen");
  });

  it("may be cut anywhere", () => {
    const driver = ready();
    const { client, hostPort } = driver.fromHost(7);
    for (const cuts of [[44], [1, 2, 3], [43, 1, 1], [0, 44, 0, 2], [50]]) {
      driver.send({ srcPort: 7, dstPort: hostPort, payload: Buffer.from("payload") }, cuts);
      expect(client.read()!.toString()).toBe("payload");
    }
  });

  it("are looked at no more while the guest takes no answers", () => {
    const driver = ready(0);
    const size = driver.queues[TX]!.size;
    for (let sent = 0; sent < 1000 && driver.queues[TX]!.usedIndex === sent; sent++) {
      driver.send({ op: Op.RW, srcPort: sent, dstPort: 1 });
      if (sent - driver.queues[TX]!.usedIndex >= size) break;
    }
    const looked = driver.queues[TX]!.usedIndex;
    expect(looked).toBeLessThanOrEqual(256);
    expect(driver.host.woken.size).toBe(0);
    // As soon as it takes them, all goes on.
    for (let count = 0; count < 32; count++) {
      driver.queues[RX]!.submit([{ gpa: driver.rig.allocate(64), length: 64, writable: true }]);
    }
    driver.notify(RX);
    expect(driver.queues[TX]!.usedIndex).toBeGreaterThan(looked);
  });
});

describe("the device", () => {
  it("closes all connections when it is reset, and what the guest had sent still arrives", () => {
    const driver = ready();
    const service = driver.service(80);
    const fromGuest = driver.fromGuest(1000, 80, service);
    const { client, hostPort } = driver.fromHost(7);
    const waiting = driver.client("CONNECT 8\n");
    const silent = driver.client("CON");
    const text = pattern(BUF_ALLOC);
    for (let at = 0; at < text.length; at += 65536) {
      driver.send({ srcPort: 7, dstPort: hostPort, payload: text.subarray(at, at + 65536) });
    }
    driver.rig.set(R.Status, 0);
    driver.rig.backend.synchronize();
    for (const one of [fromGuest, waiting, silent]) expect(one.read()).toBeUndefined();
    expect(readAll(driver, client).equals(text)).toBe(true);
    expect(client.read()).toBeUndefined();
    expect(driver.counters.counts.open).toBe(0);
    // And it works again.
    driver.bringUp();
    const again = driver.fromHost(7);
    driver.send({ srcPort: 7, dstPort: again.hostPort, payload: Buffer.from("new life") });
    expect(again.client.read()!.toString()).toBe("new life");
  });

  it("keeps no descriptor and no alarm of what is over", () => {
    const driver = ready();
    const service = driver.service(80);
    const before = openFiles();
    for (let round = 0; round < 50; round++) {
      const { client, hostPort } = driver.fromHost(7);
      driver.send({ op: Op.SHUTDOWN, srcPort: 7, dstPort: hostPort, flags: SHUTDOWN_BOTH });
      client.close();
      const other = driver.fromGuest(1000, 80, service);
      other.close();
      driver.take();
      driver.send({ op: Op.RST, srcPort: 1000, dstPort: 80 });
      const third = driver.client("nonsense\n");
      third.close();
      driver.take();
    }
    expect(openFiles()).toBe(before);
    driver.host.advance(ANSWER_MS);
    expect(driver.host.alarms).toEqual([]);
    expect(driver.host.handlers.size).toBe(1);
  });

  it("leaves the event queue's buffers alone", () => {
    const driver = ready();
    driver.queues[2]!.submit([{ gpa: driver.rig.allocate(8), length: 8, writable: true }]);
    driver.notify(2);
    expect(driver.queues[2]!.takeUsed()).toEqual([]);
  });

  it("carries megabytes both ways at once, over many streams", () => {
    const driver = ready(64, 4140);
    const service = driver.service(80);
    const streams = Array.from({ length: 8 }, (_, index) => {
      const guestPort = 1000 + index;
      const bufAlloc = 20_000 + 7000 * index;
      return {
        guestPort,
        client: driver.fromGuest(guestPort, 80, service, bufAlloc),
        bufAlloc,
        text: pattern(300_000, index),
        toHost: 0,
        toGuest: 0,
        told: 0,
        atHost: [] as Buffer[],
        atGuest: [] as Buffer[],
        consumed: 0,
      };
    });
    const done = (): boolean =>
      streams.every(({ consumed, atHost, text }) => consumed === text.length && size(atHost) === text.length);
    const size = (pieces: Buffer[]): number => pieces.reduce((sum, { length }) => sum + length, 0);
    for (let round = 0; round < 2000 && !done(); round++) {
      for (const one of streams) {
        const allowed = Math.min(9000 + one.guestPort, BUF_ALLOC - (one.toHost - one.told));
        const piece = one.text.subarray(one.toHost, one.toHost + allowed);
        one.toHost += piece.length;
        driver.send({
          srcPort: one.guestPort,
          dstPort: 80,
          payload: piece,
          bufAlloc: one.bufAlloc,
          fwdCnt: one.consumed,
        });
        one.toGuest += one.client.write(one.text.subarray(one.toGuest));
        const read = one.client.read(5000 + 1000 * (round % 20));
        if (read !== undefined) one.atHost.push(read);
      }
      for (const packet of driver.take()) {
        const one = streams[packet.dstPort - 1000]!;
        one.told = packet.fwdCnt;
        one.atGuest.push(Buffer.from(packet.payload));
        expect(size(one.atGuest) - one.consumed).toBeLessThanOrEqual(one.bufAlloc);
      }
      for (const one of streams) one.consumed = size(one.atGuest);
    }
    for (const { atHost, atGuest, text } of streams) {
      expect(Buffer.concat(atHost).equals(text)).toBe(true);
      expect(Buffer.concat(atGuest).equals(text)).toBe(true);
    }
    expect(driver.counters.counts).toMatchObject({
      errors: 0,
      open: 8,
      sentBytes: 2_400_000,
      receivedBytes: 2_400_000,
    });
    for (const { client } of streams) client.close();
  });
});
