/** network-interfaces, which are tap devices of the host. */
import type { NetworkDescription } from "../../machine/description.ts";
import { given } from "../given.ts";
import type { Place, Problems } from "../problems.ts";
import { readRateLimit, writeRateLimiter } from "./rate-limits.ts";
import type { FirecrackerInterface } from "./schema.ts";

/** Where the properties of a network come from. */
export const INTERFACE_KEYS: Readonly<Record<string, string>> = {
  tap: "host_dev_name",
  mac: "guest_mac",
  mtu: "mtu",
};

export function readInterface(
  network: FirecrackerInterface,
  at: (...keys: string[]) => Place,
  problems: Problems,
): NetworkDescription {
  const { host_dev_name: tap, guest_mac: mac, mtu, rx_rate_limiter, tx_rate_limiter } = network;
  if (network.allow_mmds_requests === true) {
    problems.lacking("allow_mmds_requests: tsvm has no metadata service yet", at("allow_mmds_requests"));
  }
  const receive = readRateLimit(rx_rate_limiter, problems, (...keys) => at("rx_rate_limiter", ...keys));
  const transmit = readRateLimit(tx_rate_limiter, problems, (...keys) => at("tx_rate_limiter", ...keys));
  return {
    type: "tap",
    tap,
    ...given({ mac, mtu }),
    ...(receive === undefined && transmit === undefined ? {} : { rateLimits: given({ receive, transmit }) }),
  };
}

export function writeInterfaces(
  networks: readonly NetworkDescription[],
  format: string,
  problems: Problems,
): FirecrackerInterface[] {
  return networks.flatMap((network, index) => writeInterface(network, index, format, problems) ?? []);
}

/** Undefined where it has no such thing, which is told. */
function writeInterface(
  { type, tap = "", mac, mtu, rateLimits = {}, address, gateway, dns }: NetworkDescription,
  index: number,
  format: string,
  problems: Problems,
): FirecrackerInterface | undefined {
  const at = `networks[${index}]`;
  if (type !== "tap") {
    problems.lacking(`${at}: ${format} has tap devices only`, { element: at });
    return undefined;
  }
  for (const [key, value] of Object.entries({ address, gateway, dns })) {
    if (value !== undefined)
      problems.lacking(`${at}: ${key}: ${format} has no words for it`, { element: at });
  }
  const { total, receive, transmit } = rateLimits;
  if (total !== undefined)
    problems.lacking(`${at}: ${format} limits each direction by itself only`, { element: at });
  return {
    iface_id: `eth${index}`,
    host_dev_name: tap,
    ...given({
      guest_mac: mac,
      mtu,
      rx_rate_limiter: writeRateLimiter(receive),
      tx_rate_limiter: writeRateLimiter(transmit),
    }),
  };
}
