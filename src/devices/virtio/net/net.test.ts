import { createHash } from "node:crypto";
import { afterAll, describe, expect, it } from "vitest";
import type { IoVector } from "../../../ffi/iovec.ts";
import { memcpy } from "../../../ffi/libc.ts";
import { allocateNative } from "../../../ffi/native-buffer.ts";
import { GuestMemory } from "../../../kvm/guest-memory.ts";
import { BUSY, GONE, LOST, NOTHING, SENT, type NetLink } from "../../../net/link.ts";
import { RateLimiter } from "../../rate-limiter.ts";
import { Rig, type DriverQueue, type Segment } from "../../testing/driver.ts";
import { R } from "../mmio.ts";
import { netCounters } from "./net-counters.ts";
import { netModel, RECEIVE_QUEUE, TRANSMIT_QUEUE, VirtioNet, type NetSurroundings } from "./net.ts";

const HEADER = 12;
const MRG_RXBUF = 1n << 15n;
const TSO4 = 1n << 7n;
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);

const memory = GuestMemory.create(16 * 2 ** 20);
afterAll(() => memory.release());

/** Remembers what is sent, and has frames to give. */
class FakeLink implements NetLink {
  readonly fd = -1;
  readonly sent: Buffer[] = [];
  readonly frames: Buffer[] = [];
  answer = SENT;
  gone = false;

  send(frame: IoVector): number {
    if (this.answer !== SENT) return this.answer;
    const { address, buffer } = allocateNative(frame.bytes);
    let at = 0;
    for (let index = 0; index < frame.count; at += frame.length(index++))
      memcpy(address + at, frame.base(index), frame.length(index));
    this.sent.push(Buffer.from(Buffer.from(buffer, 0, frame.bytes)));
    return SENT;
  }

  receive(buffers: IoVector, entries: number): number {
    if (this.gone) return GONE;
    const frame = this.frames.shift();
    if (frame === undefined) return NOTHING;
    const { address, buffer } = allocateNative(HEADER + frame.length);
    Buffer.from(buffer).fill(0).set(frame, HEADER);
    let done = 0;
    for (let index = 0; index < entries && done < HEADER + frame.length; index++) {
      const part = Math.min(buffers.length(index), HEADER + frame.length - done);
      memcpy(buffers.base(index), address + done, part);
      done += part;
    }
    return done;
  }
}

interface Net {
  readonly rig: Rig<VirtioNet>;
  readonly link: FakeLink;
  readonly receive: DriverQueue;
  readonly transmit: DriverQueue;
}

function bringUp(
  surroundings: NetSurroundings = {},
  { mtu, refuse = 0n }: { mtu?: number; refuse?: bigint } = {},
): Net {
  const link = new FakeLink();
  const model = netModel({ mac: MAC, mtu, offloads: true });
  const rig = new Rig(model, memory, (state) => new VirtioNet(state, memory, link, surroundings));
  const [receive, transmit] = rig.bringUp(rig.offered & ~refuse);
  rig.run(RECEIVE_QUEUE);
  return { rig, link, receive: receive!, transmit: transmit! };
}

function frame(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => (index * 7) & 0xff));
}

function withHeader(content: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(HEADER), content]);
}

function offer({ rig, receive }: Net, count: number, length: number): Segment[] {
  return Array.from({ length: count }, () => {
    const segment = { gpa: rig.allocate(length), length, writable: true };
    rig.bytes.fill(0xee, segment.gpa, segment.gpa + length);
    receive.submit([segment]);
    return segment;
  });
}

describe("VirtioNet", () => {
  it("shows its address, link and MTU in the configuration space", () => {
    const { rig } = bringUp({}, { mtu: 9000 });
    expect(Array.from({ length: 6 }, (_, at) => rig.transport.read(R.Config + at, 1))).toEqual([...MAC]);
    expect(rig.transport.read(R.Config + 6, 2)).toBe(1);
    expect(rig.transport.read(R.Config + 10, 2)).toBe(9000);
  });

  it("sends frames with their header, however they are cut up", () => {
    const { rig, link, transmit } = bringUp();
    const content = withHeader(frame(1514));
    transmit.submit([rig.place(content)]);
    transmit.submit([
      rig.place(content.subarray(0, 5)),
      rig.place(content.subarray(5, 20)),
      rig.place(content.subarray(20)),
    ]);
    rig.run(TRANSMIT_QUEUE);
    expect(link.sent).toEqual([content, content]);
    expect(transmit.takeUsed().map(({ length }) => length)).toEqual([0, 0]);
  });

  it("drops frames that are none, and goes on", () => {
    const counters = netCounters();
    const { rig, link, transmit } = bringUp({ counters });
    for (const length of [0, 5, HEADER, HEADER + 13]) transmit.submit([rig.place(Buffer.alloc(length))]);
    transmit.submit([{ gpa: 0, length: 2 ** 20 }]);
    transmit.submit([rig.place(withHeader(frame(60)))]);
    rig.run(TRANSMIT_QUEUE);
    expect(link.sent).toEqual([withHeader(frame(60))]);
    expect(transmit.takeUsed()).toHaveLength(6);
    expect(counters.counts).toMatchObject({ dropped: 5, sentFrames: 1, sentBytes: 60 });
    expect(rig.needsReset).toBe(false);
  });

  it("keeps a frame that the link cannot take yet", () => {
    const { rig, link, transmit } = bringUp();
    link.answer = BUSY;
    transmit.submit([rig.place(withHeader(frame(60)))]);
    rig.run(TRANSMIT_QUEUE);
    expect(transmit.takeUsed()).toEqual([]);
    link.answer = SENT;
    rig.run(TRANSMIT_QUEUE);
    expect(link.sent).toHaveLength(1);
    expect(transmit.takeUsed()).toHaveLength(1);
  });

  it("spreads a received frame over as many buffers as it needs, and no more", () => {
    const net = bringUp();
    const { rig, link, receive } = net;
    const segments = offer(net, 200, 512);
    link.frames.push(frame(1200), frame(60));
    rig.run(RECEIVE_QUEUE);
    expect(receive.takeUsed().map(({ length }) => length)).toEqual([512, 512, 188, 72]);
    const seen = Buffer.concat(segments.slice(0, 3).map(({ gpa }) => rig.bytes.slice(gpa, gpa + 512)));
    expect(seen.readUInt16LE(10)).toBe(3);
    expect(seen.subarray(HEADER, HEADER + 1200)).toEqual(frame(1200));
    expect([...seen.subarray(HEADER + 1200)]).toEqual(Array.from({ length: 324 }, () => 0xee));
    expect(rig.ram.getUint16(segments[3]!.gpa + 10, true)).toBe(1);
    expect(rig.takeInterrupts()).toBeGreaterThan(0);
  });

  it("takes no frame from the link before there is room for the largest that may come", () => {
    const net = bringUp();
    const { rig, link } = net;
    offer(net, 60, 1024);
    link.frames.push(frame(60));
    rig.run(RECEIVE_QUEUE);
    expect(link.frames).toHaveLength(1);
    offer(net, 10, 1024);
    rig.run(RECEIVE_QUEUE);
    expect(link.frames).toHaveLength(0);
  });

  it("needs room for one ordinary frame only where the driver takes no large segments", () => {
    const net = bringUp({}, { refuse: TSO4 | (1n << 8n) });
    offer(net, 1, 1530);
    net.link.frames.push(frame(1514));
    net.rig.run(RECEIVE_QUEUE);
    expect(net.receive.takeUsed()).toEqual([{ id: 0, length: HEADER + 1514 }]);
  });

  it("without mergeable buffers puts one frame into one chain", () => {
    const net = bringUp({}, { refuse: MRG_RXBUF });
    const { rig, link, receive } = net;
    const chain = [
      { gpa: rig.allocate(HEADER), length: HEADER, writable: true },
      { gpa: rig.allocate(2048), length: 2048, writable: true },
    ];
    receive.submit(chain);
    link.frames.push(frame(100), frame(50));
    rig.run(RECEIVE_QUEUE);
    expect(receive.takeUsed()).toEqual([{ id: 0, length: HEADER + 100 }]);
    expect(Buffer.from(rig.bytes.slice(chain[1]!.gpa, chain[1]!.gpa + 100))).toEqual(frame(100));
    expect(rig.ram.getUint16(chain[0]!.gpa + 10, true)).toBe(1);
    expect(link.frames).toHaveLength(1);
  });

  it("forgets the buffers that it holds when the driver resets the device", () => {
    const net = bringUp();
    offer(net, 100, 1024);
    net.rig.run(RECEIVE_QUEUE);
    const image = (): string => createHash("sha256").update(net.rig.bytes).digest("hex");
    const before = image();
    net.rig.set(R.Status, 0);
    net.link.frames.push(frame(1000));
    net.rig.run(RECEIVE_QUEUE);
    expect(image()).toBe(before);
    // Brought up again, the queue starts from nothing.
    const [receive] = net.rig.bringUp();
    const again = { ...net, receive: receive! };
    offer(again, 100, 1024);
    net.rig.run(RECEIVE_QUEUE);
    expect(again.receive.takeUsed()).toEqual([{ id: 0, length: HEADER + 1000 }]);
  });

  it("a receive buffer without room for the header breaks the protocol", () => {
    const net = bringUp();
    offer(net, 1, HEADER - 1);
    net.rig.run(RECEIVE_QUEUE);
    expect(net.rig.needsReset).toBe(true);
  });

  it("pulls the guest's cable when the link is gone, once", () => {
    let lost = 0;
    const net = bringUp({ lost: () => lost++ });
    const { rig, link, transmit } = net;
    offer(net, 100, 1024);
    link.gone = true;
    link.answer = LOST;
    rig.run(RECEIVE_QUEUE);
    transmit.submit([rig.place(withHeader(frame(60)))]);
    rig.run(TRANSMIT_QUEUE);
    expect(lost).toBe(1);
    expect(rig.transport.read(R.Config + 6, 2)).toBe(0);
    // What the guest sends is taken from it and lost, as on any cable that ends nowhere.
    expect(transmit.takeUsed()).toHaveLength(1);
  });

  it("holds frames back that are above the limit, in both directions", () => {
    let now = 0;
    const wakes: [number, number][] = [];
    const counters = netCounters();
    const limit = { bytesPerSecond: 1000 };
    const net = bringUp({
      limiter: new RateLimiter({ read: limit, write: limit }, 0),
      counters,
      now: () => now,
      runLater: (queue, delay) => wakes.push([queue, delay]),
    });
    const { rig, link, transmit, receive } = net;
    offer(net, 100, 1024);
    link.frames.push(frame(1500), frame(60));
    for (const length of [1500, 60]) transmit.submit([rig.place(withHeader(frame(length)))]);
    rig.run(RECEIVE_QUEUE);
    rig.run(TRANSMIT_QUEUE);
    rig.run(TRANSMIT_QUEUE);
    expect(receive.takeUsed()).toHaveLength(2);
    expect(link.frames).toHaveLength(1);
    expect(transmit.takeUsed()).toHaveLength(1);
    // One wake-up each, for when the debt of 500 bytes is paid.
    expect(wakes.map(([queue]) => queue)).toEqual([RECEIVE_QUEUE, TRANSMIT_QUEUE]);
    for (const [, delay] of wakes) expect(delay).toBeCloseTo(501, 0);
    now = 502;
    for (const [queue] of wakes.splice(0)) {
      rig.backend.waited(queue);
      rig.run(queue);
    }
    expect(link.frames).toHaveLength(0);
    expect(transmit.takeUsed()).toHaveLength(1);
    // The third is for what may come after.
    expect(counters.counts.throttled).toBe(3);
  });

  it("gives others their turn while frames keep coming", () => {
    const net = bringUp();
    offer(net, 256, 1024);
    net.link.receive = (buffers) => Math.min(buffers.bytes, HEADER + 60);
    expect(net.rig.backend.run(RECEIVE_QUEUE)).toBe(true);
    expect(net.receive.takeUsed()).toHaveLength(64);
  });
});
