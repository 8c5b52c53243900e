/** Parsers of `--net` and `--publish`. Each throws a {@link UsageError} that names the option. */
import type { NetworkDescription, PortForward } from "../machine/description.ts";
import { parsePortForward } from "../net/port-forward.ts";
import { UsageError } from "./errors.ts";
import { setProperties, type SetProperty } from "./properties.ts";
import { parseCount, parseSize } from "./values.ts";

/** What may stand after the type; each sets its part of the description. */
const PROPERTIES: Record<string, SetProperty<NetworkDescription>> = {
  mac: (network, value) => (network.mac = value),
  mtu: (network, value) => (network.mtu = parseCount("--net mtu", value)),
  "host-loopback": (network, value) => {
    if (value !== "") throw new UsageError(`--net: host-loopback takes no value`);
    network.hostLoopback = true;
  },
  address: (network, value) => (network.address = value),
  gateway: (network, value) => (network.gateway = value),
  dns: (network, value) => (network.dns = [...(network.dns ?? []), value]),
  bps: rate("total", "bytesPerSecond"),
  "bps-receive": rate("receive", "bytesPerSecond"),
  "bps-transmit": rate("transmit", "bytesPerSecond"),
  pps: rate("total", "operationsPerSecond"),
  "pps-receive": rate("receive", "operationsPerSecond"),
  "pps-transmit": rate("transmit", "operationsPerSecond"),
};

/** `none`, `user[,PROPERTY[=VALUE]]...` or `tap=NAME[,PROPERTY[=VALUE]]...`; docs/network.md lists the properties. */
export function parseNetwork(text: string): NetworkDescription | undefined {
  const [kind = "", ...properties] = text.split(",");
  if (kind === "none") {
    if (properties.length > 0) throw new UsageError(`--net: "${text}": none takes no properties`);
    return undefined;
  }
  const network = networkOf(kind);
  setProperties("--net", properties, PROPERTIES, network, (name) =>
    name === "dns" ? undefined : new UsageError(`--net: "${name}" is given twice`),
  );
  return network;
}

function networkOf(kind: string): NetworkDescription {
  if (kind === "user") return { type: "user" };
  const [type, ...name] = kind.split("=");
  if (type !== "tap") {
    throw new UsageError(`--net: "${kind}" is not one of user, tap=NAME, none`);
  }
  if (name.join("=") === "") throw new UsageError("--net: tap names no device", "write --net tap=NAME");
  return { type: "tap", tap: name.join("=") };
}

/** `[ADDRESS:]HOST_PORT:GUEST_PORT[/tcp|/udp]`; a single port is the same on both sides. */
export function parseForward(text: string): PortForward {
  const forward = parsePortForward(text);
  if (forward !== undefined) return forward;
  throw new UsageError(
    `--publish: "${text}" is not [ADDRESS:]HOST_PORT:GUEST_PORT[/udp]`,
    "write for example 8080:80 or 127.0.0.1:5353:53/udp",
  );
}

/** All of `--net` and `--publish` together; ports alone mean user-mode networking. */
export function networksOf(nets: readonly string[], publish: readonly string[]): NetworkDescription[] {
  const networks = nets.map(parseNetwork).filter((network) => network !== undefined);
  if (nets.length > 1 && networks.length < nets.length)
    throw new UsageError("--net none stands beside another --net", "leave one of them out");
  if (nets.length > 0 && publish.length > 0 && !networks.some(isUser))
    throw new UsageError("--publish needs user-mode networking", "add --net user");
  return addForwards(networks, publish);
}

/** The networks with further forwarded ports; a network for them where there is none. */
export function addForwards(
  networks: readonly NetworkDescription[],
  publish: readonly string[],
): NetworkDescription[] {
  if (publish.length === 0) return [...networks];
  const forwards = publish.map(parseForward);
  const user = networks.find(isUser);
  if (user === undefined) return [...networks, { type: "user", forwards }];
  return networks.map((network) =>
    network === user ? { ...user, forwards: [...(user.forwards ?? []), ...forwards] } : network,
  );
}

function isUser({ type }: NetworkDescription): boolean {
  return type === "user";
}

function rate(
  what: "total" | "receive" | "transmit",
  unit: "bytesPerSecond" | "operationsPerSecond",
): SetProperty<NetworkDescription> {
  return (network, value) => {
    const amount =
      unit === "operationsPerSecond"
        ? parseCount("--net pps", value)
        : /^\d+$/.test(value)
          ? Number(value)
          : parseSize("--net bps", value);
    network.rateLimits = {
      ...network.rateLimits,
      [what]: { ...network.rateLimits?.[what], [unit]: amount },
    };
  };
}
