/**
 * Network device, virtio 1.2 section 5.1: one pair of queues over a {@link NetLink}. Frames move between link and guest memory;
 * the virtio header goes along where the link understands it.
 */
import { IoVector } from "../../../ffi/iovec.ts";
import type { GuestMemory } from "../../../kvm/guest-memory.ts";
import {
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_STATUS,
} from "../../../net/features.ts";
import { BUSY, GONE, LOST, NOTHING, VNET_HEADER_BYTES, type NetLink } from "../../../net/link.ts";
import type { RateLimiter } from "../../rate-limiter.ts";
import { BLOCKED, gather, VirtioBackend } from "../backend.ts";
import { VIRTIO_ID_NET } from "../constants.ts";
import type { DescriptorChain, Virtqueue } from "../queue.ts";
import type { VirtioModel, VirtioState } from "../state.ts";
import { NetCounter, netCounters, type NetCounters } from "./net-counters.ts";
import { ReceiveBuffers } from "./receive-buffers.ts";

const VIRTIO_NET_S_LINK_UP = 1;

export const RECEIVE_QUEUE = 0;
export const TRANSMIT_QUEUE = 1;
const QUEUE_SIZE = 256;

/** struct virtio_net_config: mac[6], le16 status, le16 max_virtqueue_pairs, le16 mtu. */
const CONFIG_BYTES = 12;
const STATUS_OFFSET = 6;
const MTU_OFFSET = 10;
/** num_buffers in struct virtio_net_hdr_v1. */
const NUM_BUFFERS_OFFSET = 10;

const ETHERNET_HEADER = 14;
const VLAN_TAG = 4;
/** With segmentation left to the other side. */
const LARGEST_FRAME = VNET_HEADER_BYTES + ETHERNET_HEADER + VLAN_TAG + 65_535;
/** Frames after which other devices get their turn. */
const FRAMES_PER_TURN = 64;

export interface NetModelOptions {
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** Bytes of payload in a frame, 68 to 65520; left out: 1500, of which the driver is not told. */
  readonly mtu?: number | undefined;
  /** The link takes and gives frames whose checksums and segmentation are still to be done. */
  readonly offloads: boolean;
}

export function netModel({ mac, mtu, offloads }: NetModelOptions): VirtioModel {
  const config = new Uint8Array(CONFIG_BYTES);
  config.set(mac);
  const view = new DataView(config.buffer);
  view.setUint16(STATUS_OFFSET, VIRTIO_NET_S_LINK_UP, true);
  view.setUint16(MTU_OFFSET, mtu ?? 1500, true);
  return {
    deviceId: VIRTIO_ID_NET,
    features: [
      VIRTIO_NET_F_MAC,
      VIRTIO_NET_F_STATUS,
      VIRTIO_NET_F_MRG_RXBUF,
      VIRTIO_NET_F_GUEST_CSUM,
      ...(mtu === undefined ? [] : [VIRTIO_NET_F_MTU]),
      ...(offloads
        ? [
            VIRTIO_NET_F_CSUM,
            VIRTIO_NET_F_GUEST_TSO4,
            VIRTIO_NET_F_GUEST_TSO6,
            VIRTIO_NET_F_GUEST_ECN,
            VIRTIO_NET_F_HOST_TSO4,
            VIRTIO_NET_F_HOST_TSO6,
            VIRTIO_NET_F_HOST_ECN,
          ]
        : []),
    ],
    queueSizes: [QUEUE_SIZE, QUEUE_SIZE],
    config,
  };
}

/** What surrounds the device; each may be left out. */
export interface NetSurroundings {
  readonly limiter?: RateLimiter | undefined;
  readonly counters?: NetCounters | undefined;
  /** ms of a monotonic clock. */
  readonly now?: () => number;
  /** Has a queue run after so many ms. */
  readonly runLater?: (queue: number, delay: number) => void;
  /** The link is gone for good; called once. */
  readonly lost?: () => void;
}

export class VirtioNet extends VirtioBackend {
  readonly #link: NetLink;
  readonly #frame = new IoVector();
  readonly #buffers = new ReceiveBuffers();
  readonly #limiter: RateLimiter | undefined;
  readonly #counters: NetCounters;
  readonly #now: () => number;
  readonly #runLater: (queue: number, delay: number) => void;
  readonly #tellLost: () => void;
  #lost = false;
  /** Bytes that the next frame may take, header included. */
  #room = LARGEST_FRAME;
  /** Per queue: it waits for a rate limit, and a wake-up is under way. */
  readonly #waiting = [false, false];

  constructor(state: VirtioState, memory: GuestMemory, link: NetLink, surroundings: NetSurroundings = {}) {
    super(state, memory);
    const { limiter, counters = netCounters(), now = () => 0 } = surroundings;
    const { runLater = () => undefined, lost = () => undefined } = surroundings;
    this.#link = link;
    this.#limiter = limiter;
    this.#counters = counters;
    this.#now = now;
    this.#runLater = runLater;
    this.#tellLost = lost;
  }

  /** The link's descriptor can take bytes again. */
  flush(): void {
    this.#link.flush?.();
  }

  protected override serve(queue: Virtqueue, index: number): boolean {
    return index === RECEIVE_QUEUE ? this.#receive(queue) : super.serve(queue, index);
  }

  /** Only frames to be sent come here; see {@link serve}. */
  protected override handle(_index: number, chain: DescriptorChain): number {
    const bytes = chain.readableBytes - VNET_HEADER_BYTES;
    const frame = this.#frame;
    gather(frame, chain, "readable", 0, LARGEST_FRAME);
    if (bytes < ETHERNET_HEADER || frame.bytes < chain.readableBytes || this.#lost) {
      this.#counters.add(NetCounter.dropped);
      return 0;
    }
    if (this.#mustWait(TRANSMIT_QUEUE, bytes)) return BLOCKED;
    const result = this.#link.send(frame);
    if (result === BUSY) {
      // It has been counted, and will be again: better a little less than the limit than a frame lost.
      return BLOCKED;
    }
    if (result === LOST) {
      this.#lose();
      this.#counters.add(NetCounter.dropped);
      return 0;
    }
    this.#counters.add(NetCounter.sentFrames);
    this.#counters.add(NetCounter.sentBytes, bytes);
    return 0;
  }

  protected override reset(): void {
    this.#buffers.clear();
    const { state } = this;
    if (!state.live) return;
    this.#link.configure?.((bit) => state.negotiated(bit));
    const segments = state.negotiated(VIRTIO_NET_F_GUEST_TSO4) || state.negotiated(VIRTIO_NET_F_GUEST_TSO6);
    this.#room = segments ? LARGEST_FRAME : VNET_HEADER_BYTES + ETHERNET_HEADER + VLAN_TAG + mtuOf(state);
  }

  #receive(queue: Virtqueue): boolean {
    if (this.#lost) return false;
    const again = this.#receiveFrames(queue);
    if (queue.shouldNotify()) this.state.notifyUsed();
    return again;
  }

  #receiveFrames(queue: Virtqueue): boolean {
    const mergeable = this.state.negotiated(VIRTIO_NET_F_MRG_RXBUF);
    const buffers = this.#buffers;
    for (let budget = FRAMES_PER_TURN; budget > 0; budget--) {
      // A frame is lost if it finds too little room: it stays with the link until there is enough.
      if (!buffers.fill(queue, mergeable ? this.#room : 1, VNET_HEADER_BYTES)) return false;
      if (this.#mustWait(RECEIVE_QUEUE, 1)) return false;
      const length = this.#link.receive(
        buffers.vector,
        mergeable ? buffers.vector.count : buffers.firstEntries,
      );
      if (length === NOTHING) return false;
      if (length === GONE) {
        this.#lose();
        return false;
      }
      const bytes = length - VNET_HEADER_BYTES;
      this.#limiter?.charge(false, bytes - 1);
      const chains = mergeable ? buffers.chainsFor(length) : 1;
      const numBuffers = buffers.start + NUM_BUFFERS_OFFSET;
      this.memory.setUint8(numBuffers, chains & 0xff);
      this.memory.setUint8(numBuffers + 1, chains >> 8);
      buffers.use(queue, length, chains);
      this.#counters.add(NetCounter.receivedFrames);
      this.#counters.add(NetCounter.receivedBytes, bytes);
    }
    return true;
  }

  /** Whether a limit holds a frame back; the queue runs again when it may go on. */
  #mustWait(queue: number, bytes: number): boolean {
    if (this.#limiter === undefined) return false;
    const delay = this.#limiter.admit(queue === TRANSMIT_QUEUE, bytes, this.#now());
    if (delay === 0) return false;
    if (!this.#waiting[queue]!) {
      this.#waiting[queue] = true;
      this.#counters.add(NetCounter.throttled);
      this.#runLater(queue, delay);
    }
    return true;
  }

  /** To be called before a queue runs that had to wait. */
  waited(queue: number): void {
    this.#waiting[queue] = false;
  }

  /** The other end is gone: the guest sees its cable pulled out. */
  #lose(): void {
    if (this.#lost) return;
    this.#lost = true;
    this.state.config[STATUS_OFFSET] = 0;
    this.state.notifyConfig();
    this.#tellLost();
  }
}

function mtuOf({ config }: VirtioState): number {
  return config[MTU_OFFSET]! | (config[MTU_OFFSET + 1]! << 8);
}
