/**
 * bandwidth elements. `average` counts 1000 bytes a second and `burst` 1024 bytes: libvirt hands them to tc(8) as `kbps` and `kb`.
 * https://libvirt.org/formatdomain.html#quality-of-service
 */
import type { NetworkDescription, NetworkRateLimits, RateLimit } from "../../machine/description.ts";
import type { Problems } from "../problems.ts";
import { readWhole } from "./whole.ts";
import type { XmlElement } from "./xml-element.ts";

const AVERAGE = 1000;
const BURST = 1024;

/** Inbound is what the guest receives. */
const DIRECTIONS = [
  ["inbound", "receive"],
  ["outbound", "transmit"],
] as const;

export function readBandwidth(network: XmlElement, problems: Problems): NetworkRateLimits | undefined {
  const bandwidth = network.one("bandwidth");
  // Of its place in a virtual network.
  bandwidth?.skipAttributes("classID");
  const limits: NetworkRateLimits = {};
  for (const [name, kind] of DIRECTIONS) {
    const direction = bandwidth?.one(name);
    const limit = direction === undefined ? undefined : readDirection(direction, problems);
    if (limit !== undefined) limits[kind] = limit;
  }
  return Object.keys(limits).length === 0 ? undefined : limits;
}

function readDirection(direction: XmlElement, problems: Problems): RateLimit | undefined {
  const average = readWhole(direction, "average", problems);
  const burst = readWhole(direction, "burst", problems);
  const peak = direction.attribute("peak");
  const floor = direction.attribute("floor");
  if (floor !== undefined)
    problems.lacking(`<${direction.name}>: tsvm guarantees no bandwidth (floor)`, direction.place);
  if (peak !== undefined && peak !== direction.attribute("average")) {
    problems.warning(
      `<${direction.name}>: what the guest has saved up passes at once, not at a peak`,
      direction.place,
    );
  }
  if (average === undefined) {
    if (floor === undefined) problems.error(`<${direction.name}> has no average`, direction.place);
    return undefined;
  }
  return {
    bytesPerSecond: average * AVERAGE,
    ...(burst === undefined ? {} : { bytesBurst: burst * BURST }),
  };
}

/** As xml2js writes it; undefined where there is nothing to say. */
export function writeBandwidth(
  { rateLimits = {} }: NetworkDescription,
  at: string,
  problems: Problems,
): object | undefined {
  const { total, ...directions } = rateLimits;
  const element = { element: at };
  if (total !== undefined)
    problems.lacking(`${at}: libvirt's XML limits each direction by itself only`, element);
  if (Object.values(directions).some(({ operationsPerSecond }) => operationsPerSecond !== undefined))
    problems.lacking(`${at}: libvirt's XML has no limits for frames`, element);
  const rounded = (bytes: number, unit: number): number => {
    const count = Math.max(1, Math.round(bytes / unit));
    if (count * unit !== bytes) {
      problems.warning(
        `${at}: libvirt counts limits in units of ${unit} bytes: ${count * unit} in place of ${bytes}`,
        element,
      );
    }
    return count;
  };
  const written = DIRECTIONS.flatMap(([name, kind]) => {
    const { bytesPerSecond, bytesBurst } = directions[kind] ?? {};
    if (bytesPerSecond === undefined) return [];
    const average = rounded(bytesPerSecond, AVERAGE);
    const burst = bytesBurst === undefined ? {} : { burst: rounded(bytesBurst, BURST) };
    return [[name, { $: { average, ...burst } }]] as const;
  });
  return written.length === 0 ? undefined : Object.fromEntries(written);
}
