/** A tap device as a link. The kernel takes and gives the virtio header as it is, with checksums and segmentation left undone. */
import { EAGAIN, EBADFD, EIO, TUNSETOFFLOAD } from "../ffi/constants.ts";
import type { IoVector } from "../ffi/iovec.ts";
import { errno, ioctl, readv, writev } from "../ffi/libc.ts";
import {
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_ECN,
} from "./features.ts";
import { BUSY, GONE, LOST, NOTHING, SENT, type NetLink } from "./link.ts";

/** TUN_F_* of linux/if_tun.h. */
const TUN_F_CSUM = 1;
const TUN_F_TSO4 = 2;
const TUN_F_TSO6 = 4;
const TUN_F_TSO_ECN = 8;

export class TapLink implements NetLink {
  readonly fd: number;

  /** `fd` is a queue of the tap device, as {@link openTap} gives it. */
  constructor(fd: number) {
    this.fd = fd;
  }

  send(frame: IoVector): number {
    if (writev(this.fd, frame.address, frame.count) >= 0) return SENT;
    const error = errno();
    if (error === EAGAIN) return BUSY;
    // EIO: the interface is down. EINVAL and others: the kernel does not believe the header.
    return error === EBADFD ? LOST : SENT;
  }

  receive(buffers: IoVector, entries: number): number {
    const got = readv(this.fd, buffers.address, entries);
    if (got > 0) return got;
    const error = errno();
    // EIO while the interface is down, EBADFD when it has been deleted.
    return error === EAGAIN || error === EIO ? NOTHING : GONE;
  }

  /** What the host may leave for the guest to do. */
  configure(features: (bit: number) => boolean): void {
    let offloads = 0;
    if (features(VIRTIO_NET_F_GUEST_CSUM)) {
      offloads |= TUN_F_CSUM;
      if (features(VIRTIO_NET_F_GUEST_TSO4)) offloads |= TUN_F_TSO4;
      if (features(VIRTIO_NET_F_GUEST_TSO6)) offloads |= TUN_F_TSO6;
      if (features(VIRTIO_NET_F_GUEST_ECN)) offloads |= TUN_F_TSO_ECN;
    }
    // Fails on a device that is gone, which shows soon enough.
    ioctl(this.fd, TUNSETOFFLOAD, offloads);
  }
}
