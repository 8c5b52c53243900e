/** Checks of the network part of a description. */
import { isIP, isIPv4 } from "node:net";
import type { RateLimit } from "../devices/rate-limiter.ts";
import { isInterfaceName } from "../net/interface-name.ts";
import { parseMac } from "../net/mac.ts";
import { DescriptionError } from "./description-error.ts";
import type { NetworkDescription, PortForward } from "./description.ts";
import { checkRateLimits } from "./description-rates.ts";

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
  for (const [index, network] of networks.entries()) validateNetwork(network, `networks[${index}]`);
  const addresses = networks.map(({ mac }) => mac?.toLowerCase()).filter((mac) => mac !== undefined);
  const twice = addresses.find((mac, index) => addresses.indexOf(mac) !== index);
  if (twice !== undefined) throw new DescriptionError(`networks: two have the Ethernet address ${twice}`);
  const taps = networks.map(({ tap }) => tap).filter((tap) => tap !== undefined);
  const shared = taps.find((tap, index) => taps.indexOf(tap) !== index);
  if (shared !== undefined) throw new DescriptionError(`networks: two use the tap device ${shared}`);
  const forwards = networks.flatMap(({ forwards = [] }) => forwards).map(forwardKey);
  const port = forwards.find((key, index) => forwards.indexOf(key) !== index);
  if (port !== undefined) throw new DescriptionError(`networks: the host's port ${port} is forwarded twice`);
}

function validateNetwork(network: NetworkDescription, at: string): void {
  const { type, tap, mac, mtu, rateLimits = {}, forwards = [], address, gateway, dns = [] } = network;
  const other = type === "user" ? "tap" : "user";
  for (const key of ONLY[other]) {
    if (network[key] !== undefined) {
      throw new DescriptionError(`${at}.${key}: not for type ${type}`, `only for type ${other}`);
    }
  }
  if (type === "tap" && (tap === undefined || !isInterfaceName(tap))) {
    throw new DescriptionError(
      `${at}.tap: ${tap === undefined ? "is missing" : `"${tap}" is no name of an interface`}`,
      "name a tap device of the host",
    );
  }
  if (mac !== undefined && parseMac(mac) === undefined) {
    throw new DescriptionError(
      `${at}.mac: "${mac}" is not the Ethernet address of one interface`,
      "write for example 02:00:00:00:00:01",
    );
  }
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= SMALLEST_MTU && mtu <= LARGEST_MTU)) {
    throw new DescriptionError(
      `${at}.mtu: ${mtu} is not a whole number from ${SMALLEST_MTU} to ${LARGEST_MTU}`,
    );
  }
  checkRateLimits(rateLimits as Record<string, RateLimit>, `${at}: rate limit`);
  for (const [index, forward] of forwards.entries()) checkForward(forward, `${at}.forwards[${index}]`);
  if (address === undefined && (gateway !== undefined || dns.length > 0)) {
    throw new DescriptionError(`${at}: gateway and dns without address`, "add address, or leave them out");
  }
  if (address !== undefined) parseInterfaceAddress(address, `${at}.address`);
  for (const text of [...(gateway === undefined ? [] : [gateway]), ...dns]) {
    if (!isIPv4(text)) throw new DescriptionError(`${at}: "${text}" is not an IPv4 address`);
  }
  if (dns.length > MOST_NAME_SERVERS)
    throw new DescriptionError(`${at}.dns: more than ${MOST_NAME_SERVERS} name servers`);
}

/** `192.168.7.2/24` in its parts. Throws DescriptionError. */
export function parseInterfaceAddress(text: string, at: string): { address: string; prefix: number } {
  const [address = "", prefix = "", ...rest] = text.split("/");
  if (!isIPv4(address) || !/^\d{1,2}$/.test(prefix) || Number(prefix) > 32 || rest.length > 0) {
    throw new DescriptionError(
      `${at}: "${text}" is not an IPv4 address with a prefix length`,
      "write for example 192.168.7.2/24",
    );
  }
  return { address, prefix: Number(prefix) };
}

function checkForward({ address, hostPort, guestPort }: PortForward, at: string): void {
  if (address !== undefined && isIP(address) === 0)
    throw new DescriptionError(`${at}.address: "${address}" is not an IP address`);
  for (const [key, port] of Object.entries({ hostPort, guestPort })) {
    if (port === undefined) throw new DescriptionError(`${at}.${key}: is missing`);
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new DescriptionError(`${at}.${key}: ${port} is not a port from 1 to 65535`);
  }
}

function forwardKey({ protocol = "tcp", address, hostPort }: PortForward): string {
  return `${address === undefined ? "" : `${address}:`}${hostPort}/${protocol}`;
}
