/** Opens the host's side of a machine's networks. */
import { netModel } from "../devices/virtio/net/net.ts";
import type { VirtioModel } from "../devices/virtio/state.ts";
import { close } from "../ffi/libc.ts";
import { macFor } from "../net/mac-for.ts";
import { parseMac } from "../net/mac.ts";
import { startPasst } from "../net/passt.ts";
import { openTap } from "../net/tap.ts";
import { USER_NETWORK } from "../net/user-network.ts";
import type { Cleanup } from "./cleanup.ts";
import type { NetworkDescription } from "./description.ts";
import type { NetBackendPlan } from "./plan.ts";
import type { ResolvedMachine } from "./resolve.ts";

/** What drivers assume that are not told. */
const ETHERNET_MTU = 1500;

export interface OpenNetwork extends Pick<NetBackendPlan, "name" | "link" | "fd" | "rateLimits"> {
  readonly model: VirtioModel;
}

export interface OpenNetworks {
  readonly open: readonly OpenNetwork[];
  /** Resolves when all of them work; rejects with a NetError. */
  readonly ready: Promise<unknown> | undefined;
}

/** Everything opened here is closed by `cleanup`. Throws NetError. */
export function openNetworks({ name, networks }: ResolvedMachine, cleanup: Cleanup): OpenNetworks {
  const waits: Promise<void>[] = [];
  const open = networks.map((network, index): OpenNetwork => {
    const mac = network.mac === undefined ? macFor(name, index) : parseMac(network.mac)!;
    return network.type === "tap"
      ? openTapNetwork(network, mac, cleanup)
      : openUserNetwork(network, mac, cleanup, waits);
  });
  const ready = Promise.all(waits);
  ready.catch(() => undefined); // of no interest where something else fails before
  return { open, ready };
}

function openTapNetwork(network: NetworkDescription, mac: Uint8Array, cleanup: Cleanup): OpenNetwork {
  const name = network.tap!;
  const tap = openTap(name);
  cleanup.add(() => close(tap.fd));
  const mtu = network.mtu ?? tap.mtu;
  return {
    name,
    link: "tap",
    fd: tap.fd,
    rateLimits: network.rateLimits,
    model: netModel({ mac, mtu: mtu === ETHERNET_MTU ? undefined : mtu, offloads: true }),
  };
}

function openUserNetwork(
  { mtu = USER_NETWORK.mtu, forwards = [], hostLoopback = false, rateLimits }: NetworkDescription,
  mac: Uint8Array,
  cleanup: Cleanup,
  waits: Promise<void>[],
): OpenNetwork {
  const passt = startPasst({ mac, mtu, forwards, hostLoopback });
  cleanup.add(() => passt.stop());
  waits.push(passt.ready);
  return {
    name: "user",
    link: "stream",
    fd: passt.fd,
    rateLimits,
    model: netModel({ mac, mtu, offloads: false }),
  };
}
