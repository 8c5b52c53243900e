/** The header of every packet of a vsock device: struct virtio_vsock_hdr of virtio 1.2, section 5.10.6. */
import { memcpy } from "../../../ffi/libc.ts";
import { allocateNative } from "../../../ffi/native-buffer.ts";
import type { DescriptorChain } from "../queue.ts";
import { HOST_CID } from "./cid.ts";

/** Section 5.10.6, enum virtio_vsock_op. */
export const Op = {
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;

/** Flags of SHUTDOWN: the sender will receive no more, will send no more. */
export const SHUTDOWN_RCV = 1;
export const SHUTDOWN_SEND = 2;
export const SHUTDOWN_BOTH = SHUTDOWN_RCV | SHUTDOWN_SEND;

export const TYPE_STREAM = 1;

/** Word offsets in the header; all its fields are little-endian. */
const W = {
  SRC_CID: 0,
  DST_CID: 2,
  SRC_PORT: 4,
  DST_PORT: 5,
  LEN: 6,
  TYPE_OP: 7,
  FLAGS: 8,
  BUF_ALLOC: 9,
  FWD_CNT: 10,
} as const;

/** One header, outside of the guest's reach: it is copied from and to guest memory as a whole. */
export class Packet {
  static readonly BYTES = 44;
  readonly #native = allocateNative(Packet.BYTES);
  readonly #words = new Uint32Array(this.#native.buffer, 0, Packet.BYTES / 4);

  /** Copies the header from the readable part of `chain`; false if that is too short for one. */
  load(chain: DescriptorChain): boolean {
    if (chain.readableBytes < Packet.BYTES) return false;
    this.#copy(chain, 0, (host, own, bytes) => memcpy(own, host, bytes));
    return true;
  }

  /** Copies the header to the writable part of `chain`, which must have room for it. */
  store(chain: DescriptorChain): void {
    this.#copy(chain, chain.readable, (host, own, bytes) => memcpy(host, own, bytes));
  }

  /** Sets everything but what {@link setCredit} and {@link setFlags} set, which become zero. */
  set(op: number, type: number, hostPort: number, guestCid: number, guestPort: number, length: number): void {
    const words = this.#words;
    words.fill(0);
    words[W.SRC_CID] = HOST_CID;
    words[W.DST_CID] = guestCid;
    words[W.SRC_PORT] = hostPort;
    words[W.DST_PORT] = guestPort;
    words[W.LEN] = length;
    words[W.TYPE_OP] = type | (op << 16);
  }

  setCredit(bufAlloc: number, fwdCnt: number): void {
    this.#words[W.BUF_ALLOC] = bufAlloc;
    this.#words[W.FWD_CNT] = fwdCnt;
  }

  setFlags(flags: number): void {
    this.#words[W.FLAGS] = flags;
  }

  /** Says that the packet is from `cid`, 64 bits as two words, instead of the host. */
  setSource(low: number, high: number): void {
    this.#words[W.SRC_CID] = low;
    this.#words[W.SRC_CID + 1] = high;
  }

  /** Whether the packet is from the guest of that context ID. */
  isFrom(cid: number): boolean {
    return this.#words[W.SRC_CID] === cid && this.#words[W.SRC_CID + 1] === 0;
  }

  get isForHost(): boolean {
    return this.#words[W.DST_CID] === HOST_CID && this.#words[W.DST_CID + 1] === 0;
  }

  get destinationLow(): number {
    return this.#words[W.DST_CID]!;
  }

  get destinationHigh(): number {
    return this.#words[W.DST_CID + 1]!;
  }

  get sourcePort(): number {
    return this.#words[W.SRC_PORT]!;
  }

  get destinationPort(): number {
    return this.#words[W.DST_PORT]!;
  }

  /** Bytes of payload, as the header has it. */
  get length(): number {
    return this.#words[W.LEN]!;
  }

  get type(): number {
    return this.#words[W.TYPE_OP]! & 0xffff;
  }

  get op(): number {
    return this.#words[W.TYPE_OP]! >>> 16;
  }

  get flags(): number {
    return this.#words[W.FLAGS]!;
  }

  get bufAlloc(): number {
    return this.#words[W.BUF_ALLOC]!;
  }

  get fwdCnt(): number {
    return this.#words[W.FWD_CNT]!;
  }

  #copy(
    chain: DescriptorChain,
    first: number,
    copy: (host: number, own: number, bytes: number) => void,
  ): void {
    let done = 0;
    for (let at = first; done < Packet.BYTES; at++) {
      const bytes = Math.min(chain.length[at]!, Packet.BYTES - done);
      copy(chain.host[at]!, this.#native.address + done, bytes);
      done += bytes;
    }
  }
}
