/** Checks of the network part of a description. */
import { isIP, isIPv4 } from "node:net";
import type { RateLimit } from "../devices/rate-limiter.ts";
import { isInterfaceName } from "../net/interface-name.ts";
import { parseMac } from "../net/mac.ts";
import { DescriptionError } from "./description-error.ts";
import type { DescriptionProblem } from "./description-problem.ts";
import type { NetworkDescription, PortForward } from "./description.ts";
import { rateLimitProblems } from "./description-rates.ts";

/** RFC 791: what every network must carry; and the largest payload that passt knows. */
const SMALLEST_MTU = 68;
const LARGEST_MTU = 65_520;
const MOST_NAME_SERVERS = 2;

/** Which keys belong to which type. */
const ONLY: Readonly<Record<"user" | "tap", readonly (keyof NetworkDescription)[]>> = {
  user: ["forwards", "hostLoopback"],
  tap: ["tap", "address", "gateway", "dns"],
};

/** Throws a {@link DescriptionError} for the first thing that is wrong. */
export function validateNetworks(networks: readonly NetworkDescription[]): void {
  for (const { message, hint } of networkProblems(networks)) throw new DescriptionError(message, hint);
}

/** All that is wrong; paths begin with `networks`. What the host has is not looked at. */
export function* networkProblems(networks: readonly NetworkDescription[]): Generator<DescriptionProblem> {
  for (const [index, network] of networks.entries()) {
    for (const { path, message, hint } of problemsOf(network)) {
      yield {
        path: ["networks", index, ...path],
        message: `networks[${index}]${message}`,
        ...(hint === undefined ? {} : { hint }),
      };
    }
  }
  yield* twice(
    networks.map(({ mac }, index) => [mac?.toLowerCase(), [index, "mac"]]),
    (mac) => `two have the Ethernet address ${mac}`,
  );
  yield* twice(
    networks.map(({ tap }, index) => [tap, [index, "tap"]]),
    (tap) => `two use the tap device ${tap}`,
  );
  yield* twice(
    networks.flatMap(({ forwards = [] }, index) =>
      forwards.map((forward, nth): Placed => [forwardKey(forward), [index, "forwards", nth]]),
    ),
    (port) => `the host's port ${port} is forwarded twice`,
  );
}

type Placed = [value: string | undefined, path: (string | number)[]];

/** For each value that is there already. */
function* twice(values: readonly Placed[], say: (value: string) => string): Generator<DescriptionProblem> {
  const seen = new Set<string>();
  for (const [value, path] of values) {
    if (value === undefined) continue;
    if (seen.has(value)) yield { path: ["networks", ...path], message: `networks: ${say(value)}` };
    seen.add(value);
  }
}

/** Of one network: paths and messages begin behind `networks[N]`. */
function* problemsOf(network: NetworkDescription): Generator<DescriptionProblem> {
  const { type, tap, mac, mtu, rateLimits = {}, forwards = [], address, gateway, dns = [] } = network;
  const other = type === "user" ? "tap" : "user";
  for (const key of ONLY[other]) {
    if (network[key] !== undefined) {
      yield { path: [key], message: `.${key}: not for type ${type}`, hint: `only for type ${other}` };
    }
  }
  if (type === "tap" && (tap === undefined || !isInterfaceName(tap))) {
    yield {
      path: ["tap"],
      message: `.tap: ${tap === undefined ? "is missing" : `"${tap}" is no name of an interface`}`,
      hint: "name a tap device of the host",
    };
  }
  if (mac !== undefined && parseMac(mac) === undefined) {
    yield {
      path: ["mac"],
      message: `.mac: "${mac}" is not the Ethernet address of one interface`,
      hint: "write for example 02:00:00:00:00:01",
    };
  }
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= SMALLEST_MTU && mtu <= LARGEST_MTU)) {
    yield {
      path: ["mtu"],
      message: `.mtu: ${mtu} is not a whole number from ${SMALLEST_MTU} to ${LARGEST_MTU}`,
    };
  }
  for (const problem of rateLimitProblems(rateLimits as Record<string, RateLimit>)) {
    yield {
      ...problem,
      path: ["rateLimits", ...problem.path],
      message: `.rateLimits.${problem.message}`,
    };
  }
  for (const [index, forward] of forwards.entries()) yield* forwardProblems(forward, index);
  if (address === undefined && (gateway !== undefined || dns.length > 0)) {
    yield {
      path: [gateway === undefined ? "dns" : "gateway"],
      message: ": gateway and dns without address",
      hint: "add address, or leave them out",
    };
  }
  if (address !== undefined && splitInterfaceAddress(address) === undefined) {
    yield { path: ["address"], message: `.address: "${address}" ${NO_ADDRESS}`, hint: ADDRESS_HINT };
  }
  if (gateway !== undefined && !isIPv4(gateway))
    yield { path: ["gateway"], message: `.gateway: "${gateway}" is not an IPv4 address` };
  for (const [index, text] of dns.entries()) {
    if (!isIPv4(text))
      yield { path: ["dns", index], message: `.dns[${index}]: "${text}" is not an IPv4 address` };
  }
  if (dns.length > MOST_NAME_SERVERS)
    yield { path: ["dns"], message: `.dns: more than ${MOST_NAME_SERVERS} name servers` };
}

const NO_ADDRESS = "is not an IPv4 address with a prefix length";
const ADDRESS_HINT = "write for example 192.168.7.2/24";

/** `192.168.7.2/24` in its parts. Throws DescriptionError. */
export function parseInterfaceAddress(text: string, at: string): { address: string; prefix: number } {
  const parts = splitInterfaceAddress(text);
  if (parts === undefined) throw new DescriptionError(`${at}: "${text}" ${NO_ADDRESS}`, ADDRESS_HINT);
  return parts;
}

function splitInterfaceAddress(text: string): { address: string; prefix: number } | undefined {
  const [address = "", prefix = "", ...rest] = text.split("/");
  const fits = isIPv4(address) && /^\d{1,2}$/.test(prefix) && Number(prefix) <= 32 && rest.length === 0;
  return fits ? { address, prefix: Number(prefix) } : undefined;
}

function* forwardProblems(
  { address, hostPort, guestPort }: PortForward,
  index: number,
): Generator<DescriptionProblem> {
  const at = `.forwards[${index}]`;
  if (address !== undefined && isIP(address) === 0)
    yield {
      path: ["forwards", index, "address"],
      message: `${at}.address: "${address}" is not an IP address`,
    };
  for (const [key, port] of Object.entries({ hostPort, guestPort })) {
    const path = ["forwards", index, key];
    if (port === undefined) yield { path, message: `${at}.${key}: is missing` };
    else if (!Number.isInteger(port) || port < 1 || port > 65_535)
      yield { path, message: `${at}.${key}: ${port} is not a port from 1 to 65535` };
  }
}

function forwardKey({ protocol = "tcp", address, hostPort }: PortForward): string {
  return `${address === undefined ? "" : `${address}:`}${hostPort}/${protocol}`;
}
