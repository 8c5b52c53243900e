/**
 * The two credit accounts of a connection, virtio 1.2 section 5.10.6.3. Counts are of bytes and run modulo 2^32. A sender never has
 * more bytes under way than the receiver's buffer holds, and knows of that from the receiver's packets.
 */

import type { Packet } from "./packet.ts";

/** Bytes that the host keeps for a connection whose unix socket takes nothing: what the guest is told as buf_alloc. */
export const BUF_ALLOC = 256 * 1024;

export class Credit {
  /** What the guest has sent, what of it has left the buffer, and what of that the guest has been told. */
  #received = 0;
  #forwarded = 0;
  #told = 0;
  /** What the guest has been sent, and what it has said last. */
  #sent = 0;
  #peerBufAlloc = 0;
  #peerForwarded = 0;

  /** Bytes that the guest may still send, as far as it knows. */
  get granted(): number {
    return BUF_ALLOC - ((this.#received - this.#told) >>> 0);
  }

  /** Books `length` bytes from the guest. False, and nothing booked, if it was not allowed so many. */
  receive(length: number): boolean {
    if (length > this.granted) return false;
    this.#received = (this.#received + length) >>> 0;
    return true;
  }

  /** `length` received bytes need no buffer any more. */
  forward(length: number): void {
    this.#forwarded = (this.#forwarded + length) >>> 0;
  }

  /** The guest is about to run out of what it was granted, and there is more. */
  get updateDue(): boolean {
    return this.#told !== this.#forwarded && this.granted < BUF_ALLOC / 2;
  }

  /** Puts what the guest may send into a packet that it gets now. */
  stamp(packet: Packet): void {
    this.#told = this.#forwarded;
    packet.setCredit(BUF_ALLOC, this.#forwarded);
  }

  /** What a packet of the guest says of its buffer. */
  hear(bufAlloc: number, fwdCnt: number): void {
    this.#peerBufAlloc = bufAlloc;
    this.#peerForwarded = fwdCnt;
  }

  /** Bytes that the guest has room for. A guest that has counted more than it was sent gets nothing. */
  get peerFree(): number {
    return Math.max(0, this.#peerBufAlloc - ((this.#sent - this.#peerForwarded) >>> 0));
  }

  /** Books `length` bytes that the guest has been sent. */
  send(length: number): void {
    this.#sent = (this.#sent + length) >>> 0;
  }
}
