/** Limits of disks and networks, in both directions: texts with units, and numbers. */
import type { RateLimit } from "../../machine/description.ts";
import { given } from "../given.ts";
import { formatSize, parseSize } from "../quantities.ts";
import type { NativeRateLimit } from "./schema.ts";

/** Of each kind of transfer (`total`, `read`, …) that has one. */
export function readRateLimits<K extends string>(
  limits: Readonly<Partial<Record<K, NativeRateLimit | undefined>>>,
): Partial<Record<K, RateLimit>> {
  return convert(limits, readRateLimit);
}

export function writeRateLimits<K extends string>(
  limits: Readonly<Partial<Record<K, RateLimit>>>,
): Partial<Record<K, NativeRateLimit>> {
  return convert(limits, writeRateLimit);
}

function convert<K extends string, From, To>(
  limits: Readonly<Partial<Record<K, From | undefined>>>,
  one: (limit: From) => To,
): Partial<Record<K, To>> {
  const entries = Object.entries(limits) as [K, From | undefined][];
  return Object.fromEntries(
    entries.flatMap(([kind, limit]) => (limit === undefined ? [] : [[kind, one(limit)]])),
  ) as Partial<Record<K, To>>;
}

function readRateLimit(limit: NativeRateLimit): RateLimit {
  const bytes = (value: string | number): number =>
    typeof value === "number" ? value : (parseSize(value) ?? Number(value));
  const { bytesPerSecond, bytesBurst, operationsPerSecond, operationsBurst } = limit;
  return {
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond: bytes(bytesPerSecond) }),
    ...(bytesBurst === undefined ? {} : { bytesBurst: bytes(bytesBurst) }),
    ...(operationsPerSecond === undefined ? {} : { operationsPerSecond: Number(operationsPerSecond) }),
    ...(operationsBurst === undefined ? {} : { operationsBurst: Number(operationsBurst) }),
  };
}

function writeRateLimit({ bytesPerSecond, bytesBurst, ...operations }: RateLimit): NativeRateLimit {
  const size = (bytes: number | undefined): string | undefined =>
    bytes === undefined ? undefined : formatSize(bytes);
  return { ...given({ bytesPerSecond: size(bytesPerSecond), bytesBurst: size(bytesBurst) }), ...operations };
}
