/**
 * One stream: a unix socket on the host, two ports, and what each side has been told by the other (virtio 1.2, section 5.10.6).
 * It moves bytes between the socket and the buffers of the guest that it is given, and says what packet the guest is owed next.
 */
import { EAGAIN, MSG_PEEK, SHUT_RD, SHUT_WR } from "../../../ffi/constants.ts";
import type { IoVector } from "../../../ffi/iovec.ts";
import { errno, read, readv, recv, shutdown, write, writev } from "../../../ffi/libc.ts";
import { allocateNative } from "../../../ffi/native-buffer.ts";
import { gather } from "../backend.ts";
import type { DescriptorChain } from "../queue.ts";
import { Credit } from "./credit.ts";
import type { HostBuffer } from "./host-buffer.ts";
import { Op, Packet, SHUTDOWN_BOTH, SHUTDOWN_RCV, SHUTDOWN_SEND } from "./packet.ts";

/**
 * `greeting`: a client of the host has not said yet where it wants to go; `requesting`: the guest has not answered yet; `open`;
 * `draining`: the guest is done with it, the client has not taken all bytes yet; `closed`.
 */
export type Phase = "greeting" | "requesting" | "open" | "draining" | "closed";

/** Packets without payload that the guest is owed: bits. */
export const OWES_REQUEST = 1;
export const OWES_RESPONSE = 2;
export const OWES_CREDIT = 4;

/** What {@link Connection.next} returns when there is nothing to say, and when the client has broken the stream off. */
export const NOTHING = -1;
export const BROKEN = -2;

/** More than Linux puts into one packet, and so much that no one stream holds up the others. */
const LARGEST_PAYLOAD = 64 * 1024;

const line = allocateNative(32);
const lineBytes = Buffer.from(line.buffer);
const WASTE_BYTES = 64 * 1024;
const waste = allocateNative(WASTE_BYTES);

export class Connection {
  readonly fd: number;
  hostPort: number;
  guestPort: number;
  phase: Phase;
  readonly credit = new Credit();
  owed = 0;
  /** When it has taken too long, in ms. */
  deadline = Infinity;
  /** Whether it stands in the queue of those that may have something to say. */
  queued = false;
  /** The socket may have bytes, or its end. */
  readable = false;
  /** Bytes that the socket has not taken; whoever owns the connection supplies it. */
  buffer: HostBuffer | undefined;
  /** SHUTDOWN flags of the host's side, and those of them that the guest has been told. */
  ended = 0;
  #told = 0;
  /** SHUTDOWN flags of the guest's side. */
  #guestEnded = 0;
  /** The client has closed its end: nothing comes beside what is in the socket already. */
  #hungUp = false;
  #asked = false;

  constructor(fd: number, phase: Phase, hostPort: number, guestPort: number) {
    this.fd = fd;
    this.phase = phase;
    this.hostPort = hostPort;
    this.guestPort = guestPort;
  }

  /** Bytes of the guest that wait for the client. */
  get buffered(): number {
    return this.buffer?.length ?? 0;
  }

  /** The client has closed its end. */
  hangUp(): void {
    this.#hungUp = true;
    // There is no reading that would find the end.
    if (((this.ended | this.#readingEnded) & SHUTDOWN_SEND) !== 0) this.ended = SHUTDOWN_BOTH;
  }

  /** Tells the client that the guest has accepted. False if there is no client any more. */
  greet(): boolean {
    const length = lineBytes.write(`OK ${this.hostPort}\n`, "latin1");
    return write(this.fd, line.address, length) === length;
  }

  /**
   * Sends `length` bytes of payload, from `skip` on in the readable part of `chain`, to the socket, and what it does not take to a
   * buffer from `supply`. False if the guest was not allowed to send so much, or anything.
   */
  receive(
    chain: DescriptorChain,
    skip: number,
    length: number,
    vector: IoVector,
    supply: () => HostBuffer,
  ): boolean {
    if ((this.#guestEnded & SHUTDOWN_SEND) !== 0 || !this.credit.receive(length)) return false;
    if (length === 0) return true;
    let sent = 0;
    if (this.#discarding) sent = length;
    else if (this.buffered === 0) {
      gather(vector, chain, "readable", skip, length);
      const wrote = writev(this.fd, vector.address, vector.count);
      if (wrote >= 0) sent = wrote;
      else if (errno() !== EAGAIN) {
        this.#noReader();
        sent = length;
      }
    }
    this.credit.forward(sent);
    if (sent < length) {
      gather(vector, chain, "readable", skip + sent, length - sent);
      (this.buffer ??= supply()).append(vector);
    }
    return true;
  }

  /** Moves bytes from the buffer to the socket. Afterwards the buffer is empty, or the socket full. */
  flush(): void {
    if (this.buffered === 0) return;
    const { buffer } = this;
    const before = buffer!.length;
    const sent = buffer!.flush(this.fd);
    if (sent >= 0) this.credit.forward(sent);
    else {
      buffer!.clear();
      this.credit.forward(before);
      this.#noReader();
    }
    if (this.buffered === 0) this.#endOutput();
  }

  /** The guest will send or receive no more. True if it will do neither. */
  guestEnds(flags: number): boolean {
    const added = flags & SHUTDOWN_BOTH & ~this.#guestEnded;
    this.#guestEnded |= added;
    if ((added & SHUTDOWN_RCV) !== 0) {
      shutdown(this.fd, SHUT_RD);
      if (this.#hungUp) this.ended = SHUTDOWN_BOTH;
    }
    if ((added & SHUTDOWN_SEND) !== 0 && this.buffered === 0) this.#endOutput();
    return this.#guestEnded === SHUTDOWN_BOTH;
  }

  /** Takes what the client has sent for nobody: a socket closed with that in it would look broken off to the client. */
  discardInput(): void {
    shutdown(this.fd, SHUT_RD);
    while (read(this.fd, waste.address, WASTE_BYTES) > 0);
  }

  /** Whether the guest has said that it has sent all: what of that is still here is not lost by a reset. */
  get guestHasSentAll(): boolean {
    return (this.#guestEnded & SHUTDOWN_SEND) !== 0;
  }

  /** Whether the guest has been told that the host neither sends nor receives any more. */
  get toldBoth(): boolean {
    return this.#told === SHUTDOWN_BOTH;
  }

  /**
   * Fills `packet` with what the guest is to hear next, and its payload into the writable part of `chain`, after room for the header.
   * Bytes of payload, {@link NOTHING} or {@link BROKEN}.
   */
  next(packet: Packet, type: number, cid: number, chain: DescriptorChain, vector: IoVector): number {
    let payload = 0;
    let flags = 0;
    let op = this.#nextWithoutPayload();
    if (op === 0 && this.#mayRead) {
      const free = this.credit.peerFree;
      if (free > 0) {
        this.#asked = false;
        const room = Math.min(chain.writableBytes - Packet.BYTES, free, LARGEST_PAYLOAD);
        payload = this.#read(chain, room, vector);
        if (payload === BROKEN) return BROKEN;
        if (payload > 0) op = Op.RW;
      } else if (this.#hasInput && !this.#asked) {
        // Once: what the guest says then, or by itself later, is heard.
        this.#asked = true;
        op = Op.CREDIT_REQUEST;
      }
    }
    if (op === 0 && this.ended !== this.#told && this.phase === "open") {
      op = Op.SHUTDOWN;
      flags = this.#told = this.ended;
    }
    if (op === 0) return NOTHING;
    packet.set(op, type, this.hostPort, cid, this.guestPort, payload);
    packet.setFlags(flags);
    this.credit.stamp(packet);
    this.credit.send(payload);
    return payload;
  }

  #nextWithoutPayload(): number {
    for (const [bit, op] of OWED) {
      if ((this.owed & bit) === 0) continue;
      this.owed &= ~bit;
      return op;
    }
    return this.phase === "open" && this.credit.updateDue ? Op.CREDIT_UPDATE : 0;
  }

  get #mayRead(): boolean {
    return this.readable && this.phase === "open" && (this.#readingEnded & SHUTDOWN_SEND) === 0;
  }

  /** SHUTDOWN_SEND once nothing more goes to the guest, for whatever reason. */
  get #readingEnded(): number {
    return (this.ended & SHUTDOWN_SEND) | ((this.#guestEnded & SHUTDOWN_RCV) !== 0 ? SHUTDOWN_SEND : 0);
  }

  /** Nobody reads what the guest sends. */
  get #discarding(): boolean {
    return (this.ended & SHUTDOWN_RCV) !== 0;
  }

  #read(chain: DescriptorChain, room: number, vector: IoVector): number {
    gather(vector, chain, "writable", Packet.BYTES, room);
    const got = readv(this.fd, vector.address, vector.count);
    if (got > 0) return got;
    if (got < 0 && errno() !== EAGAIN) return BROKEN;
    this.#noInput(got === 0);
    return 0;
  }

  /** Looks for bytes that the guest has no room for. Their end, if that is what there is, needs none. */
  get #hasInput(): boolean {
    const seen = recv(this.fd, waste.address, 1, MSG_PEEK);
    if (seen > 0) return true;
    this.#noInput(seen === 0);
    return false;
  }

  #noInput(end: boolean): void {
    this.readable = false;
    if (end) this.ended |= this.#hungUp ? SHUTDOWN_BOTH : SHUTDOWN_SEND;
  }

  #noReader(): void {
    this.ended |= SHUTDOWN_RCV;
  }

  #endOutput(): void {
    if (this.guestHasSentAll) shutdown(this.fd, SHUT_WR);
  }
}

const OWED = [
  [OWES_REQUEST, Op.REQUEST],
  [OWES_RESPONSE, Op.RESPONSE],
  [OWES_CREDIT, Op.CREDIT_UPDATE],
] as const;
