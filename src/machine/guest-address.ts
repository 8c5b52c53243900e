/** What tsvm's init is told of the guest's addresses: the kernel's own parameter `ip=`, and `ip1=`, … for further interfaces. */
import { USER_NETWORK } from "../net/user-network.ts";
import { parseInterfaceAddress } from "./description-network.ts";
import type { NetworkDescription } from "./description.ts";

/**
 * One parameter for each network whose address is known:
 * `ip=ADDRESS::GATEWAY:NETMASK:HOSTNAME:DEVICE:off:DNS:DNS` (Linux, Documentation/admin-guide/nfs/nfsroot.rst).
 */
export function guestAddressParameters(
  networks: readonly NetworkDescription[],
  hostname: string | undefined,
): string[] {
  return networks.flatMap((network, index) => {
    const known = addressOf(network);
    if (known === undefined) return [];
    const { address, prefix, gateway, dns } = known;
    const fields = [address, "", gateway, netmask(prefix), hostname ?? "tsvm", `eth${index}`, "off", ...dns];
    return [`ip${index === 0 ? "" : index}=${fields.join(":")}`];
  });
}

function addressOf({
  type,
  address,
  gateway = "",
  dns = [],
}: NetworkDescription): { address: string; prefix: number; gateway: string; dns: string[] } | undefined {
  if (type === "user") return { ...USER_NETWORK, dns: [USER_NETWORK.dns] };
  if (address === undefined) return undefined;
  return { ...parseInterfaceAddress(address, "address"), gateway, dns };
}

function netmask(prefix: number): string {
  const mask = prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 0xff).join(".");
}
