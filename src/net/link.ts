/** Where a network device's frames go to and come from. */
import type { IoVector } from "../ffi/iovec.ts";

/** struct virtio_net_hdr_v1 (virtio 1.2, section 5.1.6), which precedes each frame in guest memory. */
export const VNET_HEADER_BYTES = 12;

/** What {@link NetLink.send} may say: the frame is gone, cannot go now, or nobody is there any more. */
export const SENT = 0;
export const BUSY = 1;
export const LOST = 2;

/** What {@link NetLink.receive} says instead of a length: nothing there, or nobody there. */
export const NOTHING = 0;
export const GONE = -1;

export interface NetLink {
  /** For epoll. */
  readonly fd: number;
  /** Sends the frame in `frame`, which begins with the virtio header: {@link SENT}, {@link BUSY} or {@link LOST}. */
  send(frame: IoVector): number;
  /**
   * Puts the next frame, with its virtio header before it, into the first `entries` buffers of `buffers`. Returns its length with the
   * header, {@link NOTHING} or {@link GONE}. `num_buffers` is left to the caller. A frame that is too long for the buffers is cut.
   */
  receive(buffers: IoVector, entries: number): number;
  /** The driver has been set up: `features` says by bit number what it accepted. */
  configure?(features: (bit: number) => boolean): void;
  /** Sends what could not be sent before. To be called when the descriptor becomes writable. */
  flush?(): void;
}
