/** portForward elements. https://libvirt.org/formatdomain.html#userspace-connection-using-passt */
import type { PortForward } from "../../net/port-forward.ts";
import { given } from "../given.ts";
import type { Place, Problems } from "../problems.ts";
import { readWhole } from "./whole.ts";
import type { XmlElement } from "./xml-element.ts";

/** A range becomes as many forwards as it has ports. */
const MOST_PORTS = 1024;
const LARGEST_PORT = 65_535;

export interface ReadForward {
  readonly forward: PortForward;
  readonly place: Place;
}

export function readPortForwards(network: XmlElement, problems: Problems): ReadForward[] {
  const forwards: ReadForward[] = [];
  for (const element of network.all("portForward")) {
    const more = readPortForward(element, MOST_PORTS - forwards.length, problems);
    if (more !== undefined) forwards.push(...more);
  }
  return forwards;
}

/** Undefined where there is something wrong. */
function readPortForward(element: XmlElement, most: number, problems: Problems): ReadForward[] | undefined {
  const protocol = element.attribute("proto") ?? "tcp";
  const address = element.attribute("address");
  const device = element.attribute("dev");
  const ranges = element.all("range").map((range) => readRange(range, problems));
  if (protocol !== "tcp" && protocol !== "udp") {
    problems.error(`<portForward>: "${protocol}" is not tcp or udp`, element.place);
    return undefined;
  }
  if (device !== undefined) {
    problems.lacking(
      `<portForward>: tsvm listens on addresses, not on interfaces (dev="${device}")`,
      element.place,
      `listens on ${address ?? "all addresses"}`,
    );
  }
  const known = ranges.filter((range) => range !== undefined);
  if (known.length < ranges.length) return undefined;
  const led = known.filter(({ exclude }) => !exclude);
  if (led.length === 0) {
    problems.lacking("<portForward>: tsvm leads in ports that are named, not all of them", element.place);
    return undefined;
  }
  if (led.reduce((sum, { start, end }) => sum + end - start + 1, 0) > most) {
    problems.error(`<portForward>: tsvm leads in ${MOST_PORTS} ports at most`, element.place);
    return undefined;
  }
  const excluded = known.filter(({ exclude }) => exclude);
  return led.flatMap(({ start, end, to, place }) =>
    Array.from({ length: end - start + 1 }, (_, index) => index)
      .filter(
        (index) => !excluded.some((range) => range.start <= start + index && start + index <= range.end),
      )
      .map((index) => ({
        forward: {
          ...(protocol === "udp" ? { protocol: "udp" as const } : {}),
          ...given({ address }),
          hostPort: start + index,
          guestPort: to + index,
        },
        place,
      })),
  );
}

interface Range {
  readonly start: number;
  readonly end: number;
  /** The guest's port for `start`. */
  readonly to: number;
  /** These are left out of the other ranges. */
  readonly exclude: boolean;
  readonly place: Place;
}

function readRange(range: XmlElement, problems: Problems): Range | undefined {
  const start = readPort(range, "start", problems);
  const end = readPort(range, "end", problems) ?? start;
  const to = readPort(range, "to", problems) ?? start;
  const exclude = range.attribute("exclude") === "yes";
  if (start === undefined || end === undefined || to === undefined) {
    if (range.attribute("start") === undefined) problems.error("<range> has no start", range.place);
    return undefined;
  }
  if (end < start || to + end - start > LARGEST_PORT) {
    problems.error(`<range>: ${start} to ${end} are no range of ports`, range.place);
    return undefined;
  }
  return { start, end, to, exclude, place: range.place };
}

function readPort(range: XmlElement, attribute: string, problems: Problems): number | undefined {
  const port = readWhole(range, attribute, problems);
  if (port === undefined || port <= LARGEST_PORT) return port;
  problems.error(`<range>: ${attribute}="${port}" is no port from 1 to ${LARGEST_PORT}`, range.place);
  return undefined;
}

interface WrittenForward {
  readonly $: { readonly proto: string; readonly address?: string };
  readonly range: { readonly $: { start: number; end?: number; to?: number } }[];
}

/** As xml2js writes it: neighbours of the same kind together, ports in a row as one range. */
export function writePortForwards(forwards: readonly PortForward[]): WrittenForward[] {
  const written: WrittenForward[] = [];
  for (const { protocol = "tcp", address, hostPort, guestPort } of forwards) {
    let last = written.at(-1);
    if (last?.$.proto !== protocol || last.$.address !== address) {
      last = { $: { proto: protocol, ...given({ address }) }, range: [] };
      written.push(last);
    }
    const range = last.range.at(-1)?.$;
    if (range !== undefined) {
      const { start, end = start, to = start } = range;
      if (hostPort === end + 1 && guestPort - to === hostPort - start) {
        range.end = hostPort;
        continue;
      }
    }
    last.range.push({ $: { start: hostPort, ...(guestPort === hostPort ? {} : { to: guestPort }) } });
  }
  return written;
}
