/**
 * Frames over a stream socket, each after its length in four bytes, most significant first: what passt and QEMU's `-netdev stream`
 * speak. Nothing is left undone there: the other side knows no virtio header.
 */
import { EAGAIN } from "../ffi/constants.ts";
import { IoVector } from "../ffi/iovec.ts";
import { errno, memcpy, read, write, writev } from "../ffi/libc.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
import { VIRTIO_NET_F_GUEST_CSUM } from "./features.ts";
import { BUSY, GONE, LOST, NOTHING, SENT, VNET_HEADER_BYTES, type NetLink } from "./link.ts";

const PREFIX_BYTES = 4;
/** passt's own limit. A peer that announces more is not one. */
export const LARGEST_FRAME = 65_535;
const VIRTIO_NET_HDR_F_DATA_VALID = 2;

/** Of frames that come in; room for the virtio header before the first one. */
const IN_START = 16;
const IN_BYTES = 256 * 1024;

export class StreamLink implements NetLink {
  readonly fd: number;
  readonly #in = allocateNative(IN_BYTES);
  readonly #inBytes = new Uint8Array(this.#in.buffer);
  readonly #inView = new DataView(this.#in.buffer);
  #inAt = IN_START;
  #inEnd = IN_START;
  /** The rest of a frame of which the socket has taken only a part. */
  readonly #out = allocateNative(PREFIX_BYTES + LARGEST_FRAME);
  #outAt = 0;
  #outEnd = 0;
  readonly #prefix = allocateNative(PREFIX_BYTES);
  readonly #prefixView = new DataView(this.#prefix.buffer);
  readonly #vector = new IoVector();
  #checked = false;
  #gone = false;

  /** `fd` is a connected, non-blocking stream socket. */
  constructor(fd: number) {
    this.fd = fd;
  }

  configure(features: (bit: number) => boolean): void {
    // What comes over a socket of this host has no bit errors: the guest need not look for them.
    this.#checked = features(VIRTIO_NET_F_GUEST_CSUM);
  }

  send(frame: IoVector): number {
    if (this.#gone) return LOST;
    if (this.#outAt < this.#outEnd) {
      this.flush();
      if (this.#outAt < this.#outEnd) return this.#gone ? LOST : BUSY;
    }
    const bytes = frame.bytes - VNET_HEADER_BYTES;
    if (bytes > LARGEST_FRAME) return SENT;
    this.#prefixView.setUint32(0, bytes);
    const vector = this.#vector;
    vector.clear();
    vector.add(this.#prefix.address, PREFIX_BYTES);
    if (!vector.addSlice(frame, VNET_HEADER_BYTES, bytes)) return SENT;
    const wrote = writev(this.fd, vector.address, vector.count);
    if (wrote < 0) {
      if (errno() === EAGAIN) return BUSY;
      this.#gone = true;
      return LOST;
    }
    if (wrote < vector.bytes) this.#keep(wrote);
    return SENT;
  }

  flush(): void {
    while (this.#outAt < this.#outEnd) {
      const wrote = write(this.fd, this.#out.address + this.#outAt, this.#outEnd - this.#outAt);
      if (wrote < 0) {
        if (errno() !== EAGAIN) this.#gone = true;
        return;
      }
      this.#outAt += wrote;
    }
  }

  receive(buffers: IoVector, entries: number): number {
    if (this.#gone) return GONE;
    while (!this.#wholeFrame()) {
      if (this.#gone) return GONE;
      this.#makeRoom();
      const got = read(this.fd, this.#in.address + this.#inEnd, IN_BYTES - this.#inEnd);
      if (got <= 0) {
        if (got < 0 && errno() === EAGAIN) return NOTHING;
        this.#gone = true;
        return GONE;
      }
      this.#inEnd += got;
    }
    const length = this.#inView.getUint32(this.#inAt);
    // The header takes the place of the prefix and of what was before it, which nobody needs any more.
    const start = this.#inAt + PREFIX_BYTES - VNET_HEADER_BYTES;
    this.#inBytes.fill(0, start, start + VNET_HEADER_BYTES);
    if (this.#checked) this.#inBytes[start] = VIRTIO_NET_HDR_F_DATA_VALID;
    this.#inAt += PREFIX_BYTES + length;
    return this.#scatter(buffers, entries, start, VNET_HEADER_BYTES + length);
  }

  #wholeFrame(): boolean {
    const available = this.#inEnd - this.#inAt;
    if (available < PREFIX_BYTES) return false;
    const length = this.#inView.getUint32(this.#inAt);
    if (length === 0 || length > LARGEST_FRAME) this.#gone = true;
    return !this.#gone && available >= PREFIX_BYTES + length;
  }

  /** Moves what is there to the front when less than a whole frame would fit behind it. */
  #makeRoom(): void {
    if (this.#inAt === this.#inEnd) this.#inAt = this.#inEnd = IN_START;
    else if (IN_BYTES - this.#inAt < PREFIX_BYTES + LARGEST_FRAME) {
      this.#inBytes.copyWithin(IN_START, this.#inAt, this.#inEnd);
      this.#inEnd -= this.#inAt - IN_START;
      this.#inAt = IN_START;
    }
  }

  #scatter(buffers: IoVector, entries: number, from: number, bytes: number): number {
    let done = 0;
    for (let index = 0; index < entries && done < bytes; index++) {
      const part = Math.min(buffers.length(index), bytes - done);
      memcpy(buffers.base(index), this.#in.address + from + done, part);
      done += part;
    }
    return done;
  }

  /** Copies what the socket has not taken of the frame in {@link #vector}: guest memory may change when the frame is done. */
  #keep(wrote: number): void {
    const vector = this.#vector;
    vector.consume(wrote);
    this.#outAt = 0;
    this.#outEnd = 0;
    for (let index = 0; index < vector.count; index++) {
      memcpy(this.#out.address + this.#outEnd, vector.base(index), vector.length(index));
      this.#outEnd += vector.length(index);
    }
  }
}
