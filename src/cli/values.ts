/** Parsers of option values. Each throws a {@link UsageError} that names the option. */
import type { DiskDescription } from "../machine/description.ts";
import { PAGE_SIZE } from "../boot/quantities.ts";
import { MOST_MEMORY } from "../definition/limits.ts";
import { CACHE_MODES, IMAGE_FORMATS } from "./choices.ts";
import { UsageError } from "./errors.ts";
import { setProperties, type SetProperty } from "./properties.ts";

const SIZE_UNITS: Record<string, number> = {
  "": 2 ** 20,
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};
const LEAST_MEMORY = 2 ** 20;
const TIME_UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, "": 1000 };

/** `512M`, `2G`, `64MiB`, `4096B`; a bare number counts MiB. Bytes. */
export function parseSize(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?|(B))?$/i.exec(text.trim());
  if (match === null)
    throw new UsageError(`${option}: "${text}" is not a size`, "write for example 256M or 2G");
  return Math.round(Number(match[1]) * SIZE_UNITS[(match[2] ?? match[3] ?? "").toUpperCase()]!);
}

/** Of guest memory, in bytes: what some host could have. */
export function parseMemory(option: string, text: string): number {
  const bytes = parseSize(option, text);
  const refuse = (why: string, hint: string): never => {
    throw new UsageError(`${option}: "${text}" ${why}`, hint);
  };
  if (bytes < LEAST_MEMORY) refuse("is less than 1 MiB", "a Linux guest wants 64M or more");
  if (bytes > MOST_MEMORY) refuse("is more than any host has", "write for example 256M or 2G");
  if (bytes % PAGE_SIZE !== 0) refuse("is not a multiple of the 4096-byte page", "write whole MiB: 256M");
  return bytes;
}

/** `500ms`, `10s`, `2m`; a bare number counts seconds. Milliseconds. */
export function parseDuration(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|)$/.exec(text.trim());
  const value = match === null ? 0 : Number(match[1]) * TIME_UNITS[match[2]!]!;
  if (value <= 0 || value > 2 ** 31 - 1) {
    throw new UsageError(`${option}: "${text}" is not a time`, "write for example 30s, 5m or 500ms");
  }
  return value;
}

/** A whole number, of at least `least`. */
export function parseCount(option: string, text: string, least = 0): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || !Number.isSafeInteger(value)) {
    const limit = least === 0 ? "" : ` of at least ${least}`;
    throw new UsageError(`${option}: "${text}" is not a whole number${limit}`);
  }
  return value;
}

/** What stands after the path of a --disk; each sets its part of the description. */
const DISK_PROPERTIES: Record<string, SetProperty<DiskDescription>> = {
  ro: flag((disk) => (disk.readOnly = true)),
  overlay: flag((disk) => (disk.overlay = true)),
  ephemeral: flag((disk) => (disk.ephemeral = true)),
  format: (disk, value) => (disk.format = oneOf("--disk: format", value, IMAGE_FORMATS)),
  serial: (disk, value) => (disk.serial = serial(value)),
  cache: (disk, value) => (disk.cache = oneOf("--disk: cache", value, CACHE_MODES)),
  boot: (disk, value) => (disk.bootOrder = parseCount("--disk: boot", value, 1)),
  bps: limit("total", "bytesPerSecond"),
  "bps-read": limit("read", "bytesPerSecond"),
  "bps-write": limit("write", "bytesPerSecond"),
  iops: limit("total", "operationsPerSecond"),
  "iops-read": limit("read", "operationsPerSecond"),
  "iops-write": limit("write", "operationsPerSecond"),
};

/** `PATH[,PROPERTY[=VALUE]]...`; docs/cli.md lists the properties. */
export function parseDisk(text: string): DiskDescription {
  const [path = "", ...properties] = text.split(",");
  if (path === "") throw new UsageError(`--disk: "${text}" names no file`);
  const disk: DiskDescription = { path };
  if (properties.includes("")) {
    throw new UsageError(
      `--disk: "${text}" has a comma with no property behind it`,
      "leave the comma out; a path cannot contain one",
    );
  }
  const twice = (name: string): UsageError =>
    new UsageError(`--disk: ${name} is there twice in "${text}"`, "give it once");
  setProperties("--disk", properties, DISK_PROPERTIES, disk, twice);
  return disk;
}

function flag(set: (disk: DiskDescription) => void): SetProperty<DiskDescription> {
  return (disk, value) => {
    if (value !== "") throw new UsageError(`--disk: "${value}" is too much: this property has no value`);
    set(disk);
  };
}

function limit(
  what: "total" | "read" | "write",
  unit: "bytesPerSecond" | "operationsPerSecond",
): SetProperty<DiskDescription> {
  return (disk, value) => {
    const option = `--disk: ${unit === "bytesPerSecond" ? "bps" : "iops"}${what === "total" ? "" : `-${what}`}`;
    const rate = unit === "bytesPerSecond" ? parseRate(option, value) : parseCount(option, value, 1);
    disk.rateLimits = { ...disk.rateLimits, [what]: { ...disk.rateLimits?.[what], [unit]: rate } };
  };
}

/** Bytes a second: a size, where a bare number counts bytes. */
function parseRate(option: string, text: string): number {
  const bytes = /^\d+$/.test(text) ? Number(text) : parseSize(option, text);
  if (bytes >= 1 && Number.isSafeInteger(bytes)) return bytes;
  throw new UsageError(`${option}: "${text}" is no limit`, "write for example 10M, or leave it out");
}

function serial(text: string): string {
  if (/^[\x20-\x7e]{1,20}$/.test(text)) return text;
  throw new UsageError(`--disk: serial: "${text}" is not 1 to 20 printable ASCII characters`);
}

export function oneOf<T extends string>(option: string, text: string, values: readonly T[]): T {
  const value = values.find((one) => one === text);
  if (value === undefined) {
    throw new UsageError(`${option}: "${text}" is not one of ${values.join(", ")}`);
  }
  return value;
}
