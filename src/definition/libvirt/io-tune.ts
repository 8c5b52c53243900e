/**
 * iotune elements. `X_bytes_sec` is the rate, `X_bytes_sec_max` the rate of a burst that lasts `X_bytes_sec_max_length` seconds (1
 * by default): tsvm's burst is the product, the bytes that may be moved at once.
 */
import type { DiskRateLimits, RateLimit } from "../../machine/description.ts";
import type { Problems } from "../problems.ts";
import type { XmlElement } from "./xml-element.ts";

const KINDS = ["total", "read", "write"] as const;
const MEASURES = [
  { word: "bytes", rate: "bytesPerSecond", burst: "bytesBurst" },
  { word: "iops", rate: "operationsPerSecond", burst: "operationsBurst" },
] as const;

export function readIoTune(disk: XmlElement, problems: Problems): DiskRateLimits | undefined {
  const tune = disk.one("iotune");
  if (tune === undefined) return undefined;
  const number = (name: string): number | undefined => {
    const element = tune.one(name);
    if (element === undefined) return undefined;
    if (!/^\d{1,15}$/.test(element.text()))
      problems.error(`<${name}>: "${element.text()}" is no whole number`, element.place);
    const value = Number(element.text());
    // libvirt's way to say "no limit".
    return value > 0 ? value : undefined;
  };
  const limits: DiskRateLimits = {};
  for (const kind of KINDS) {
    const limit: RateLimit = {};
    for (const { word, rate, burst } of MEASURES) {
      const perSecond = number(`${kind}_${word}_sec`);
      const most = number(`${kind}_${word}_sec_max`);
      const seconds = number(`${kind}_${word}_sec_max_length`) ?? 1;
      if (perSecond !== undefined) limit[rate] = perSecond;
      if (most === undefined) continue;
      if (perSecond !== undefined) limit[burst] = most * seconds;
      else problems.error(`<iotune>: ${kind}_${word}_sec_max without ${kind}_${word}_sec`, tune.place);
    }
    if (Object.keys(limit).length > 0) limits[kind] = limit;
  }
  for (const name of ["size_iops_sec", "group_name"]) {
    const element = tune.one(name);
    element?.skipContent();
    if (element !== undefined)
      problems.lacking(
        `<${name}>: tsvm limits each disk by itself, and counts each request once`,
        element.place,
      );
  }
  return Object.keys(limits).length === 0 ? undefined : limits;
}

/** As xml2js writes it. */
export function writeIoTune(limits: DiskRateLimits): Record<string, number> {
  const tune: Record<string, number> = {};
  for (const { word, rate } of MEASURES) {
    for (const kind of KINDS) {
      const perSecond = limits[kind]?.[rate];
      if (perSecond !== undefined) tune[`${kind}_${word}_sec`] = perSecond;
    }
  }
  for (const { word, burst } of MEASURES) {
    for (const kind of KINDS) {
      const most = limits[kind]?.[burst];
      if (most !== undefined) tune[`${kind}_${word}_sec_max`] = most;
    }
  }
  return tune;
}
