/** A vsock driver that talks to the device packet by packet, over real unix sockets, with a clock that the test turns. */
import { closeSync, mkdtempSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLET,
  SHUT_WR,
} from "../../ffi/constants.ts";
import { bind, check, epoll_create1, epoll_ctl, epoll_wait, listen, shutdown } from "../../ffi/libc.ts";
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import { vsockCounters } from "../virtio/vsock/vsock-counters.ts";
import { Op, TYPE_STREAM } from "../virtio/vsock/packet.ts";
import { acceptUnix, connectUnix, unixAddress, unixSocket } from "../virtio/vsock/unix-socket.ts";
import { RX, TX, VirtioVsock, vsockModel, type VsockHost } from "../virtio/vsock/vsock.ts";
import { Rig, type DriverQueue, type Segment } from "./driver.ts";

export const CID = 3;
const HEADER = 44;

/** A packet as it stands in guest memory; what is left out is as a stream of the guest to the host has it. */
export interface GuestPacket {
  readonly srcCid: bigint;
  readonly dstCid: bigint;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly len: number;
  readonly type: number;
  readonly op: number;
  readonly flags: number;
  readonly bufAlloc: number;
  readonly fwdCnt: number;
  readonly payload: Buffer;
}

export function encode(packet: Partial<GuestPacket>): Buffer {
  const payload = packet.payload ?? Buffer.alloc(0);
  const bytes = Buffer.alloc(HEADER);
  bytes.writeBigUInt64LE(packet.srcCid ?? BigInt(CID), 0);
  bytes.writeBigUInt64LE(packet.dstCid ?? 2n, 8);
  bytes.writeUInt32LE(packet.srcPort ?? 0, 16);
  bytes.writeUInt32LE(packet.dstPort ?? 0, 20);
  bytes.writeUInt32LE(packet.len ?? payload.length, 24);
  bytes.writeUInt16LE(packet.type ?? TYPE_STREAM, 28);
  bytes.writeUInt16LE(packet.op ?? Op.RW, 30);
  bytes.writeUInt32LE(packet.flags ?? 0, 32);
  bytes.writeUInt32LE(packet.bufAlloc ?? 1 << 20, 36);
  bytes.writeUInt32LE((packet.fwdCnt ?? 0) >>> 0, 40);
  return Buffer.concat([bytes, payload]);
}

export function decode(bytes: Buffer): GuestPacket {
  return {
    srcCid: bytes.readBigUInt64LE(0),
    dstCid: bytes.readBigUInt64LE(8),
    srcPort: bytes.readUInt32LE(16),
    dstPort: bytes.readUInt32LE(20),
    len: bytes.readUInt32LE(24),
    type: bytes.readUInt16LE(28),
    op: bytes.readUInt16LE(30),
    flags: bytes.readUInt32LE(32),
    bufAlloc: bytes.readUInt32LE(36),
    fwdCnt: bytes.readUInt32LE(40),
    payload: bytes.subarray(HEADER),
  };
}

/** A thread's event loop that turns only when it is told to. */
export class TestHost implements VsockHost {
  readonly #epollFd = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  readonly #events = allocateNative(64 * 12);
  readonly handlers = new Map<number, (events: number) => void>();
  readonly alarms: { at: number; handler: () => void }[] = [];
  readonly woken = new Set<number>();
  time = 1000;

  watch(fd: number, events: number, handler: (events: number) => void): void {
    this.#control(EPOLL_CTL_ADD, fd, events);
    this.handlers.set(fd, handler);
  }

  rewatch(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events);
  }

  unwatch(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0);
    this.handlers.delete(fd);
  }

  callLater(delay: number, handler: () => void): void {
    this.alarms.push({ at: this.time + delay, handler });
  }

  now(): number {
    return this.time;
  }

  wake(index: number): void {
    this.woken.add(index);
  }

  /** Hands out what is ready now; how many events that were. */
  turn(): number {
    const words = new Uint32Array(this.#events.buffer);
    const count = check(epoll_wait(this.#epollFd, this.#events.address, 64, 0), "epoll_wait");
    const ready = Array.from(
      { length: count },
      (_, index) => [words[3 * index]!, words[3 * index + 1]!] as const,
    );
    for (const [events, fd] of ready) this.handlers.get(fd)?.(events);
    return count;
  }

  /** Lets time pass. */
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = Math.min(...this.alarms.map(({ at }) => at));
      if (next > end) break;
      this.time = next;
      const due = this.alarms.findIndex(({ at }) => at === next);
      this.alarms.splice(due, 1)[0]!.handler();
    }
    this.time = end;
  }

  close(): void {
    closeSync(this.#epollFd);
  }

  #control(operation: number, fd: number, events: number): void {
    const event = new Uint32Array([(events | EPOLLET) >>> 0, fd, 0]);
    check(epoll_ctl(this.#epollFd, operation, fd, event), "epoll_ctl");
  }
}

class Descriptor {
  readonly fd: number;
  closed = false;

  constructor(fd: number) {
    if (fd < 0) throw new Error(`no descriptor: errno ${-fd}`);
    this.fd = fd;
  }

  close(): void {
    if (!this.closed) closeSync(this.fd);
    this.closed = true;
  }
}

/** One end of a unix socket, in the hands of the test. */
export class Client extends Descriptor {
  /** How many bytes the socket took. */
  write(bytes: string | Uint8Array): number {
    try {
      return writeSync(this.fd, Buffer.from(bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") return 0;
      throw error;
    }
  }

  /** What is there now; undefined at the end of the stream, also where it was broken off. */
  read(limit = 1 << 20): Buffer | undefined {
    const bytes = Buffer.alloc(limit);
    try {
      const got = readSync(this.fd, bytes);
      return got === 0 ? undefined : bytes.subarray(0, got);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EAGAIN") return Buffer.alloc(0);
      if (code === "ECONNRESET") return undefined;
      throw error;
    }
  }

  endOutput(): void {
    check(shutdown(this.fd, SHUT_WR), "shutdown");
  }
}

/** A unix socket that listens, in the hands of the test. */
export class Service extends Descriptor {
  constructor(path: string, backlog = 128) {
    super(unixSocket());
    const address = unixAddress(path);
    check(bind(this.fd, address, address.length), "bind");
    check(listen(this.fd, backlog), "listen");
  }

  /** The next connection, which must be there. */
  accept(): Client {
    return new Client(acceptUnix(this.fd));
  }
}

export class VsockDriver {
  readonly host = new TestHost();
  readonly counters = vsockCounters();
  readonly directory = mkdtempSync(join(tmpdir(), "tsvm-vsock-"));
  readonly path = join(this.directory, "v");
  readonly rig: Rig<VirtioVsock>;
  queues: DriverQueue[] = [];
  readonly #listener: Service;
  readonly #buffers = new Map<number, Segment>();
  readonly #freeBuffers: Segment[] = [];
  readonly #sending: number;
  readonly #open: Descriptor[] = [];

  constructor(memory: GuestMemory) {
    this.#listener = new Service(this.path);
    this.rig = new Rig(
      vsockModel(CID),
      memory,
      (state) =>
        new VirtioVsock(state, memory, this.host, {
          cid: CID,
          listenFd: this.#listener.fd,
          portPath: `${this.path}_`,
          counters: this.counters,
        }),
    );
    this.#sending = this.rig.allocate(HEADER + 300_000);
  }

  /** With so many receive buffers of `size` bytes. */
  bringUp(buffers = 32, size = 4096 + HEADER): void {
    this.queues = this.rig.bringUp();
    this.rig.backend.synchronize();
    for (let count = 0; count < buffers; count++) {
      this.#giveBuffer({ gpa: this.rig.allocate(size), length: size, writable: true });
    }
    this.notify(RX);
  }

  /** The driver has done something with queue `index`: runs it and whatever wants to run then. */
  notify(index: number): void {
    this.host.wake(index);
    this.settle();
  }

  /** Until nothing happens any more. */
  settle(limit = 10_000): void {
    for (let turn = 0; turn < limit; turn++) {
      const woken = [...this.host.woken];
      this.host.woken.clear();
      for (const index of woken) if (this.rig.backend.run(index)) this.host.wake(index);
      if (this.host.turn() === 0 && this.host.woken.size === 0) return;
    }
    throw new Error("the device does not come to rest");
  }

  /** Sends the packet, cut into buffers of the lengths given, and waits until it is taken. */
  send(packet: Partial<GuestPacket>, cuts: readonly number[] = []): void {
    this.sendBytes(encode(packet), cuts);
  }

  sendBytes(bytes: Buffer, cuts: readonly number[] = []): void {
    this.rig.bytes.set(bytes, this.#sending);
    const segments: Segment[] = [];
    let at = 0;
    for (const length of [...cuts, bytes.length]) {
      const piece = Math.min(length, bytes.length - at);
      segments.push({ gpa: this.#sending + at, length: piece });
      at += piece;
    }
    this.queues[TX]!.submit(segments);
    this.notify(TX);
  }

  /** Packets that have arrived since the last time; their buffers go back to the device unless `keep`. */
  take(keep = false): GuestPacket[] {
    this.settle();
    const packets: GuestPacket[] = [];
    for (let used = this.queues[RX]!.takeUsed(); used.length > 0; used = this.queues[RX]!.takeUsed()) {
      for (const { id, length } of used) {
        const buffer = this.#buffers.get(id)!;
        this.#buffers.delete(id);
        packets.push(decode(Buffer.from(this.rig.bytes.slice(buffer.gpa, buffer.gpa + length))));
        if (keep) this.#freeBuffers.push(buffer);
        else this.#giveBuffer(buffer);
      }
      if (!keep) this.notify(RX);
    }
    return packets;
  }

  /** Gives back `count` buffers that were kept. */
  giveBack(count = Infinity): void {
    for (const buffer of this.#freeBuffers.splice(0, count)) this.#giveBuffer(buffer);
    this.notify(RX);
  }

  /** Something on host port `port` to connect to. */
  service(port: number, backlog?: number): Service {
    return this.#keep(new Service(`${this.path}_${port}`, backlog));
  }

  /** A client of the device's socket. */
  client(greeting = ""): Client {
    const client = this.#keep(new Client(connectUnix(this.path)));
    if (greeting !== "") client.write(greeting);
    this.settle();
    return client;
  }

  /** A connection from the host to a port of the guest, accepted and greeted. */
  fromHost(guestPort: number, bufAlloc = 1 << 20): { client: Client; hostPort: number } {
    const client = this.client(`CONNECT ${guestPort}\n`);
    const request = this.take().find(({ op }) => op === Op.REQUEST);
    if (request === undefined) throw new Error("no request for the guest");
    const hostPort = request.srcPort;
    this.send({ op: Op.RESPONSE, srcPort: guestPort, dstPort: hostPort, bufAlloc });
    client.read();
    return { client, hostPort };
  }

  /** A connection from a port of the guest to one of the host, accepted. */
  fromGuest(guestPort: number, hostPort: number, service: Service, bufAlloc = 1 << 20): Client {
    this.send({ op: Op.REQUEST, srcPort: guestPort, dstPort: hostPort, bufAlloc });
    const response = this.take().find(({ op }) => op === Op.RESPONSE);
    if (response === undefined) throw new Error("no response for the guest");
    return this.#keep(service.accept());
  }

  close(): void {
    this.rig.backend.close();
    for (const one of this.#open) one.close();
    this.#listener.close();
    this.host.close();
    rmSync(this.directory, { recursive: true });
  }

  #keep<T extends Descriptor>(one: T): T {
    this.#open.push(one);
    return one;
  }

  #giveBuffer(buffer: Segment): void {
    this.#buffers.set(this.queues[RX]!.submit([buffer]), buffer);
  }
}
