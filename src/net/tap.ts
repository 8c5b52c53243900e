/** Opening a tap device of the host. */
import { constants, openSync, readFileSync } from "node:fs";
import {
  AF_INET,
  EACCES,
  EBUSY,
  EINVAL,
  EPERM,
  IFF_NO_PI,
  IFF_TAP,
  IFF_VNET_HDR,
  SIOCGIFMTU,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  TUNSETIFF,
  TUNSETVNETHDRSZ,
} from "../ffi/constants.ts";
import { errnoName } from "../ffi/errno.ts";
import { close, errno, ioctlBuffer, socket } from "../ffi/libc.ts";
import { NetError } from "./errors.ts";
import { IFNAMSIZ } from "./interface-name.ts";
import { VNET_HEADER_BYTES } from "./link.ts";

const DEVICE = "/dev/net/tun";
/** struct ifreq. */
const IFREQ_BYTES = 40;

export interface Tap {
  /** Non-blocking. */
  readonly fd: number;
  readonly mtu: number;
}

/** Attaches to the tap device `name`, which must exist: the guest's frames have the virtio header. Throws NetError. */
export function openTap(name: string): Tap {
  // TUNSETIFF would make one, if we may: with nobody behind it, and gone when we are.
  if (!interfaceExists(name)) throw new NetError(`there is no interface ${name}`, creationHint(name));
  const fd = openDevice();
  try {
    const request = interfaceRequest(name);
    request.setUint16(IFNAMSIZ, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
    if (ioctlBuffer(fd, TUNSETIFF, request) < 0) throw attachError(name, errno());
    const headerBytes = Int32Array.of(VNET_HEADER_BYTES);
    if (ioctlBuffer(fd, TUNSETVNETHDRSZ, headerBytes) < 0) {
      throw new NetError(
        `tap ${name}: the host's kernel has no virtio headers of ${VNET_HEADER_BYTES} bytes`,
      );
    }
    return { fd, mtu: mtuOf(name) };
  } catch (error) {
    close(fd);
    throw error;
  }
}

function openDevice(): number {
  try {
    return openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new NetError(
      `cannot open ${DEVICE}: ${code ?? String(error)}`,
      code === "ENOENT" ? "load the module: modprobe tun" : "give this user access to it",
      error,
    );
  }
}

function interfaceExists(name: string): boolean {
  return readFileSync("/proc/self/net/dev", "utf8")
    .split("\n")
    .some((line) => line.slice(0, line.indexOf(":")).trim() === name);
}

function interfaceRequest(name: string): DataView {
  const request = new DataView(new ArrayBuffer(IFREQ_BYTES));
  new Uint8Array(request.buffer).set(new TextEncoder().encode(name));
  return request;
}

function attachError(name: string, error: number): NetError {
  const why = `tap ${name}: ${errnoName(error)}`;
  switch (error) {
    case EPERM:
    case EACCES:
      return new NetError(
        `${why}: this user may not use it`,
        `as root: ip link delete ${name}; ${creationLine(name)}`,
      );
    case EBUSY:
      return new NetError(`${why}: another program uses it`, "each machine needs a tap device of its own");
    case EINVAL:
      return new NetError(`${why}: it is no tap device, or one with several queues`, creationHint(name));
    default:
      return new NetError(why);
  }
}

function creationHint(name: string): string {
  return `as root: ${creationLine(name)}`;
}

function creationLine(name: string): string {
  return `ip tuntap add ${name} mode tap vnet_hdr user $USER && ip link set ${name} up`;
}

function mtuOf(name: string): number {
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 1500;
  const request = interfaceRequest(name);
  const known = ioctlBuffer(fd, SIOCGIFMTU, request) >= 0;
  close(fd);
  return known ? request.getInt32(IFNAMSIZ, true) : 1500;
}
