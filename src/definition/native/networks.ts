/** Networks of the native format, in both directions. */
import type { NetworkDescription } from "../../machine/description.ts";
import { formatPortForward, parsePortForward, type PortForward } from "../../net/port-forward.ts";
import { given } from "../given.ts";
import { flags } from "./flags.ts";
import { readRateLimits, writeRateLimits } from "./rate-limits.ts";
import type { NativeNetwork } from "./schema.ts";

export function readNetwork(network: NativeNetwork): NetworkDescription {
  const { type, tap, mac, mtu, rateLimits, forwards, hostLoopback, address, gateway, dns } = network;
  return {
    type,
    ...given({ tap, mac }),
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    ...(rateLimits === undefined ? {} : { rateLimits: readRateLimits(rateLimits) }),
    ...(forwards === undefined ? {} : { forwards: forwards.map(readForward) }),
    ...flags({ hostLoopback }),
    ...given({ address, gateway, dns }),
  };
}

type NativeForward = NonNullable<NativeNetwork["forwards"]>[number];

function readForward(forward: NativeForward): PortForward {
  if (typeof forward === "string") return parsePortForward(forward)!;
  const { protocol, address, hostPort, guestPort } = forward;
  return { ...given({ protocol, address }), hostPort: Number(hostPort), guestPort: Number(guestPort) };
}

export function writeNetwork(network: NetworkDescription): NativeNetwork {
  const { rateLimits, forwards, dns, ...others } = network;
  return {
    ...others,
    ...(rateLimits === undefined ? {} : { rateLimits: writeRateLimits({ ...rateLimits }) }),
    ...(forwards === undefined ? {} : { forwards: forwards.map(formatPortForward) }),
    ...(dns === undefined ? {} : { dns: [...dns] }),
  };
}
