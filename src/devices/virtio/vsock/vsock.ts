/**
 * Socket device, virtio 1.2 section 5.10, for stream sockets between programs of the guest and unix sockets of the host. A client of
 * the unix socket says `CONNECT PORT` to get to a port of the guest; a program of the guest that connects to port P of the host gets
 * to the unix socket whose name ends in `_P`.
 *
 * Payload moves between socket and guest memory without a copy, but for what a unix socket does not take at once: that waits in a
 * buffer as large as the guest's credit. Without a buffer of the guest to put things into, no socket is read.
 */
import { EAGAIN, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../../../ffi/constants.ts";
import { SystemCallError } from "../../../ffi/errno.ts";
import { IoVector } from "../../../ffi/iovec.ts";
import { close } from "../../../ffi/libc.ts";
import type { GuestMemory } from "../../../kvm/guest-memory.ts";
import { BLOCKED, VirtioBackend } from "../backend.ts";
import { VIRTIO_ID_VSOCK } from "../constants.ts";
import { VirtqueueError, type DescriptorChain } from "../queue.ts";
import type { VirtioModel, VirtioState } from "../state.ts";
import { HOST_CID } from "./cid.ts";
import { BROKEN, Connection, NOTHING, OWES_CREDIT, OWES_REQUEST, OWES_RESPONSE } from "./connection.ts";
import { ConnectionTable } from "./connection-table.ts";
import { VsockCounter, vsockCounters, type VsockCounters } from "./vsock-counters.ts";
import { INCOMPLETE, INVALID, readGreeting } from "./greeting.ts";
import { HostBuffer } from "./host-buffer.ts";
import { Op, Packet, TYPE_STREAM } from "./packet.ts";
import { acceptUnix, connectUnix } from "./unix-socket.ts";

const VIRTIO_VSOCK_F_STREAM = 0;

export const RX = 0;
export const TX = 1;
/** Linux fills the receive queue with one page per entry when it finds the device: on a slow guest a large one is dear. */
const QUEUE_SIZES = [64, 64, 8]; // receive, transmit, event

/** All connections of a device, and those of them whose client has not said yet where it wants to go. */
export const MAX_CONNECTIONS = 1024;
export const MAX_GREETINGS = 128;
/** A guest that takes none of so many refusals gets no more of its packets looked at. */
const MAX_RESETS = 256;
/** For the client to say where it wants to go. */
export const GREETING_MS = 2000;
/**
 * For the guest to answer, or to confirm an end. Where a software KVM emulates its kernel, one in which fifty programs run on one
 * processor needs a minute. Clients have limits of their own.
 */
export const ANSWER_MS = 120_000;
/** After a failure to accept a client for which there is no event that says when it is over. */
const RETRY_MS = 1000;
const SPARE_BUFFERS = 8;

/** What the device needs of the thread that it runs on. */
export interface VsockHost {
  /** Has `handler` called with EPOLL* bits when something becomes ready (edge-triggered). */
  watch(fd: number, events: number, handler: (events: number) => void): void;
  rewatch(fd: number, events: number): void;
  unwatch(fd: number): void;
  /** Has `handler` called once, in `delay` ms or a little later. */
  callLater(delay: number, handler: () => void): void;
  /** ms of a clock that never goes back. */
  now(): number;
  /** Has queue `index` run again soon. */
  wake(index: number): void;
}

export interface VsockOptions {
  readonly cid: number;
  /** Non-blocking listening unix socket, which stays the caller's. */
  readonly listenFd: number;
  /** Path of the unix socket of host port P, up to and without P. At most 97 bytes. */
  readonly portPath: string;
  readonly counters?: VsockCounters;
}

export function vsockModel(cid: number): VirtioModel {
  const config = new Uint8Array(8);
  new DataView(config.buffer).setUint32(0, cid, true);
  return { deviceId: VIRTIO_ID_VSOCK, features: [VIRTIO_VSOCK_F_STREAM], queueSizes: QUEUE_SIZES, config };
}

/** A refusal to something that belongs to no connection (any more). */
interface Reset {
  readonly type: number;
  readonly cidLow: number;
  readonly cidHigh: number;
  readonly hostPort: number;
  readonly guestPort: number;
}

export class VirtioVsock extends VirtioBackend {
  readonly #host: VsockHost;
  readonly #cid: number;
  readonly #listenFd: number;
  readonly #portPath: string;
  readonly #counters: VsockCounters;
  readonly #incoming = new Packet();
  readonly #outgoing = new Packet();
  readonly #vector = new IoVector();
  readonly #all = new Set<Connection>();
  /** Those that the guest knows of. */
  readonly #table = new ConnectionTable<Connection>();
  /** In the order in which they get to say something. */
  #ready: Connection[] = [];
  #resets: Reset[] = [];
  readonly #spareBuffers: HostBuffer[] = [];
  #greetings = 0;
  /** Clients may be waiting at the listening socket. */
  #clientsWaiting = true;
  #sendingBlocked = false;
  #alarmAt = Infinity;
  #closed = false;

  constructor(state: VirtioState, memory: GuestMemory, host: VsockHost, options: VsockOptions) {
    super(state, memory);
    this.#host = host;
    this.#cid = options.cid;
    this.#listenFd = options.listenFd;
    this.#portPath = options.portPath;
    this.#counters = options.counters ?? vsockCounters();
    host.watch(this.#listenFd, EPOLLIN, () => {
      this.#clientsWaiting = true;
      this.#settle();
    });
  }

  override run(index: number): boolean {
    const again = super.run(index);
    this.#settle(index === RX);
    return again;
  }

  override synchronize(): void {
    super.synchronize();
    this.#settle();
  }

  /** Closes all connections, for good. */
  close(): void {
    this.#closed = true;
    this.#host.unwatch(this.#listenFd);
    for (const connection of this.#all) this.#close(connection);
  }

  protected override handle(index: number, chain: DescriptorChain): number {
    if (index === TX) return this.#take(chain);
    // The event queue is for what happens only to a machine that moves: its buffers wait.
    return index === RX ? this.#deliver(chain) : BLOCKED;
  }

  protected override reset(): void {
    this.#resets = [];
    this.#sendingBlocked = false;
    for (const connection of this.#all) {
      if (connection.phase !== "draining") this.#leave(connection);
    }
  }

  /** What follows from whatever has just happened; `delivered`, if the receive queue has run just now. */
  #settle(delivered = false): void {
    if (this.#closed) return;
    if (this.#clientsWaiting) this.#acceptClients();
    if (!delivered && this.#hasSomethingToSay && super.run(RX)) this.#host.wake(RX);
    if (this.#sendingBlocked && this.#resets.length < MAX_RESETS) {
      this.#sendingBlocked = false;
      this.#host.wake(TX);
    }
  }

  get #hasSomethingToSay(): boolean {
    return this.#ready.length > 0 || this.#resets.length > 0;
  }

  // From the guest

  #take(chain: DescriptorChain): number {
    if (this.#resets.length >= MAX_RESETS) {
      this.#sendingBlocked = true;
      return BLOCKED;
    }
    const packet = this.#incoming;
    this.#counters.add(VsockCounter.sentPackets);
    // Nobody to answer to: not even a header, or one with a false sender.
    if (!packet.load(chain) || !packet.isFrom(this.#cid)) {
      this.#counters.add(VsockCounter.errors);
      return 0;
    }
    const { type, op, destinationPort, sourcePort } = packet;
    const known =
      packet.isForHost && type === TYPE_STREAM ? this.#table.get(destinationPort, sourcePort) : undefined;
    if (known !== undefined) this.#takeFor(known, chain);
    else if (op === Op.REQUEST && packet.isForHost && type === TYPE_STREAM) this.#connectToHost();
    else if (op !== Op.RST) this.#refuse();
    return 0;
  }

  #takeFor(connection: Connection, chain: DescriptorChain): void {
    const packet = this.#incoming;
    connection.credit.hear(packet.bufAlloc, packet.fwdCnt);
    const open = connection.phase === "open";
    switch (packet.op) {
      case Op.RESPONSE:
        if (connection.phase === "requesting") this.#guestAccepts(connection);
        else this.#violation(connection);
        return;
      case Op.RST:
        if (connection.phase === "requesting") this.#counters.add(VsockCounter.refused);
        if (connection.guestHasSentAll) this.#leave(connection);
        else this.#close(connection);
        return;
      case Op.SHUTDOWN:
        if (!open) this.#violation(connection);
        else if (connection.guestEnds(packet.flags)) {
          // Section 5.10.6.6.1: a reset confirms it. All that the guest has sent is here.
          this.#resetFor(connection);
          connection.discardInput();
          this.#leave(connection);
        } else this.#enqueue(connection);
        return;
      case Op.RW:
        if (open && this.#receive(connection, chain)) this.#enqueue(connection);
        else this.#violation(connection);
        return;
      case Op.CREDIT_UPDATE:
        this.#enqueue(connection);
        return;
      case Op.CREDIT_REQUEST:
        connection.owed |= OWES_CREDIT;
        this.#enqueue(connection);
        return;
      default:
        // REQUEST among them: the guest does not know the connection that we know.
        this.#violation(connection);
    }
  }

  /** False if the guest was not allowed to send this, or says that there is more than there is. */
  #receive(connection: Connection, chain: DescriptorChain): boolean {
    const { length } = this.#incoming;
    if (length > chain.readableBytes - Packet.BYTES) return false;
    const before = connection.buffered;
    if (!connection.receive(chain, Packet.BYTES, length, this.#vector, this.#supply)) return false;
    this.#counters.add(VsockCounter.sentBytes, length);
    if (before === 0 && connection.buffered > 0) this.#host.rewatch(connection.fd, EPOLLIN | EPOLLOUT);
    return true;
  }

  readonly #supply = (): HostBuffer => this.#spareBuffers.pop() ?? new HostBuffer();

  #connectToHost(): void {
    const { destinationPort, sourcePort, bufAlloc, fwdCnt } = this.#incoming;
    const fd =
      this.#all.size < MAX_CONNECTIONS ? connectUnix(`${this.#portPath}${destinationPort}`) : -EAGAIN;
    if (fd < 0) {
      this.#counters.add(VsockCounter.refused);
      this.#refuse();
      return;
    }
    const connection = new Connection(fd, "open", destinationPort, sourcePort);
    connection.credit.hear(bufAlloc, fwdCnt);
    connection.owed = OWES_RESPONSE;
    if (!this.#adopt(connection)) {
      this.#refuse();
      return;
    }
    this.#table.add(connection);
    this.#opened();
    this.#enqueue(connection);
  }

  #guestAccepts(connection: Connection): void {
    connection.phase = "open";
    connection.deadline = Infinity;
    this.#opened();
    if (connection.greet()) this.#enqueue(connection);
    else this.#break(connection);
  }

  #opened(): void {
    this.#counters.add(VsockCounter.connections);
    this.#counters.add(VsockCounter.open);
  }

  #violation(connection: Connection): void {
    this.#counters.add(VsockCounter.errors);
    this.#break(connection);
  }

  /** Answers the incoming packet by a reset, as the one that it was meant for. */
  #refuse(): void {
    const { type, destinationLow, destinationHigh, destinationPort, sourcePort } = this.#incoming;
    this.#resets.push({
      type,
      cidLow: destinationLow,
      cidHigh: destinationHigh,
      hostPort: destinationPort,
      guestPort: sourcePort,
    });
  }

  // To the guest

  #deliver(chain: DescriptorChain): number {
    if (chain.writableBytes <= Packet.BYTES) throw new VirtqueueError("vsock buffer too small for a packet");
    const packet = this.#outgoing;
    for (;;) {
      const reset = this.#resets.shift();
      if (reset !== undefined) {
        packet.set(Op.RST, reset.type, reset.hostPort, this.#cid, reset.guestPort, 0);
        packet.setSource(reset.cidLow, reset.cidHigh);
        return this.#store(chain, 0);
      }
      const connection = this.#ready.shift();
      if (connection === undefined) return BLOCKED;
      connection.queued = false;
      const payload = connection.next(packet, TYPE_STREAM, this.#cid, chain, this.#vector);
      if (payload === BROKEN) this.#break(connection);
      else if (payload !== NOTHING) {
        if (connection.toldBoth && connection.deadline === Infinity) this.#limit(connection, ANSWER_MS);
        this.#enqueue(connection);
        return this.#store(chain, payload);
      }
    }
  }

  #store(chain: DescriptorChain, payload: number): number {
    this.#outgoing.store(chain);
    this.#counters.add(VsockCounter.receivedPackets);
    this.#counters.add(VsockCounter.receivedBytes, payload);
    return Packet.BYTES + payload;
  }

  #enqueue(connection: Connection): void {
    if (connection.queued) return;
    connection.queued = true;
    this.#ready.push(connection);
  }

  // From the host

  #acceptClients(): void {
    // Before the guest has a driver, clients wait at the door.
    while (this.queues.length > 0 && this.#greetings < MAX_GREETINGS && this.#all.size < MAX_CONNECTIONS) {
      const fd = acceptUnix(this.#listenFd);
      if (fd < 0) {
        if (fd === -EAGAIN) this.#clientsWaiting = false;
        // Out of descriptors, for instance: there is no event that would say when it is better.
        else this.#setAlarm(this.#host.now() + RETRY_MS);
        return;
      }
      const connection = new Connection(fd, "greeting", 0, 0);
      this.#greetings++;
      if (this.#adopt(connection)) this.#limit(connection, GREETING_MS);
      else this.#greetings--;
    }
  }

  /** Takes the connection into the books. False, and it is closed, if the thread cannot watch it. */
  #adopt(connection: Connection): boolean {
    try {
      this.#host.watch(connection.fd, EPOLLIN, (events) => this.#socketReady(connection, events));
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      connection.phase = "closed";
      close(connection.fd);
      return false;
    }
    this.#all.add(connection);
    return true;
  }

  #socketReady(connection: Connection, events: number): void {
    const hungUp = (events & EPOLLHUP) !== 0;
    switch (connection.phase) {
      case "greeting":
        if (hungUp) this.#close(connection);
        else this.#readGreeting(connection);
        break;
      case "requesting":
        connection.readable = true;
        // Whoever waited for the guest waits no more.
        if (hungUp) this.#break(connection);
        break;
      case "open":
        if ((events & ~EPOLLOUT) !== 0) connection.readable = true;
        if (hungUp) connection.hangUp();
        this.#flush(connection);
        this.#enqueue(connection);
        break;
      case "draining":
        this.#flush(connection);
        if (connection.buffered === 0) this.#close(connection);
        break;
      case "closed":
        return;
    }
    this.#settle();
  }

  #flush(connection: Connection): void {
    if (connection.buffered === 0) return;
    connection.flush();
    if (connection.buffered > 0) return;
    this.#takeBuffer(connection);
    this.#host.rewatch(connection.fd, EPOLLIN);
  }

  #readGreeting(connection: Connection): void {
    const port = readGreeting(connection.fd);
    if (port === INCOMPLETE) return;
    if (port === INVALID) {
      this.#close(connection);
      return;
    }
    this.#greetings--;
    connection.phase = "requesting";
    connection.guestPort = port;
    connection.hostPort = this.#table.freeHostPort(port);
    connection.owed = OWES_REQUEST;
    connection.readable = true;
    this.#table.add(connection);
    this.#limit(connection, ANSWER_MS);
    this.#enqueue(connection);
  }

  // Ends

  /** Resets the connection on both sides. */
  #break(connection: Connection): void {
    // What the guest has never heard of needs no reset: it may be a guest that takes no packets at all.
    if ((connection.owed & OWES_REQUEST) === 0) this.#resetFor(connection);
    this.#close(connection);
  }

  #resetFor({ hostPort, guestPort }: Connection): void {
    this.#resets.push({ type: TYPE_STREAM, cidLow: HOST_CID, cidHigh: 0, hostPort, guestPort });
  }

  /** The guest has nothing to do with it any more; the client still gets what is on its way. */
  #leave(connection: Connection): void {
    if (connection.buffered === 0) {
      this.#close(connection);
      return;
    }
    this.#forget(connection);
    connection.phase = "draining";
    connection.deadline = Infinity;
  }

  #close(connection: Connection): void {
    if (connection.phase === "closed") return;
    this.#forget(connection);
    connection.phase = "closed";
    this.#all.delete(connection);
    this.#takeBuffer(connection);
    this.#host.unwatch(connection.fd);
    close(connection.fd);
  }

  #forget(connection: Connection): void {
    if (connection.phase === "greeting") this.#greetings--;
    if (connection.phase === "requesting" || connection.phase === "open") this.#table.delete(connection);
    if (connection.phase === "open") this.#counters.add(VsockCounter.open, -1);
    if (connection.queued) this.#ready = this.#ready.filter((other) => other !== connection);
    connection.queued = false;
  }

  #takeBuffer(connection: Connection): void {
    const { buffer } = connection;
    if (buffer === undefined) return;
    connection.buffer = undefined;
    buffer.clear();
    if (this.#spareBuffers.length < SPARE_BUFFERS) this.#spareBuffers.push(buffer);
  }

  /** Gives the connection `patience` ms for what is to come next. */
  #limit(connection: Connection, patience: number): void {
    connection.deadline = this.#host.now() + patience;
    this.#setAlarm(connection.deadline);
  }

  #setAlarm(at: number): void {
    if (at >= this.#alarmAt) return;
    this.#alarmAt = at;
    this.#host.callLater(at - this.#host.now(), () => {
      // One that an earlier one has made superfluous still rings.
      if (this.#alarmAt <= at) this.#alarmAt = Infinity;
      this.#checkDeadlines();
    });
  }

  #checkDeadlines(): void {
    if (this.#closed) return;
    const now = this.#host.now();
    let next = Infinity;
    for (const connection of this.#all) {
      if (connection.deadline > now) next = Math.min(next, connection.deadline);
      else if (connection.phase === "greeting") this.#close(connection);
      else {
        if (connection.phase === "requesting") this.#counters.add(VsockCounter.refused);
        this.#break(connection);
      }
    }
    if (next < Infinity) this.#setAlarm(next);
    this.#settle();
  }
}
