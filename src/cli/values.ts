/** Parsers of option values. Each throws a {@link UsageError} that names the option. */
import type { DiskDescription } from "../machine/description.ts";
import { UsageError } from "./errors.ts";

const SIZE_UNITS: Record<string, number> = {
  "": 2 ** 20,
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};
const TIME_UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, "": 1000 };

/** `512M`, `2G`, `64MiB`, `4096B`; a bare number counts MiB. Bytes. */
export function parseSize(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?|(B))?$/i.exec(text.trim());
  if (match === null)
    throw new UsageError(`${option}: "${text}" is not a size`, "write for example 256M or 2G");
  return Math.round(Number(match[1]) * SIZE_UNITS[(match[2] ?? match[3] ?? "").toUpperCase()]!);
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

export function parseCount(option: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new UsageError(`${option}: "${text}" is not a whole number`);
  return Number(text);
}

/** What stands after the path of a --disk; each sets its part of the description. */
const DISK_PROPERTIES: Record<string, (disk: DiskDescription, value: string) => void> = {
  ro: flag((disk) => (disk.readOnly = true)),
  overlay: flag((disk) => (disk.overlay = true)),
  ephemeral: flag((disk) => (disk.ephemeral = true)),
  format: (disk, value) => (disk.format = oneOf("format", value, ["raw", "qcow2"])),
  serial: (disk, value) => (disk.serial = value),
  cache: (disk, value) => (disk.cache = oneOf("cache", value, ["writeback", "none", "unsafe"])),
  boot: (disk, value) => (disk.bootOrder = parseCount("--disk boot", value)),
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
  for (const property of properties) {
    const [name = "", ...rest] = property.split("=");
    const set = Object.hasOwn(DISK_PROPERTIES, name) ? DISK_PROPERTIES[name] : undefined;
    if (set === undefined) {
      throw new UsageError(
        `--disk: unknown property "${property}"`,
        `known are ${Object.keys(DISK_PROPERTIES).join(", ")}`,
      );
    }
    set(disk, rest.join("="));
  }
  return disk;
}

function flag(set: (disk: DiskDescription) => void): (disk: DiskDescription, value: string) => void {
  return (disk, value) => {
    if (value !== "") throw new UsageError(`--disk: "${value}" is too much: this property has no value`);
    set(disk);
  };
}

function limit(
  what: "total" | "read" | "write",
  unit: "bytesPerSecond" | "operationsPerSecond",
): (disk: DiskDescription, value: string) => void {
  return (disk, value) => {
    const rate = unit === "bytesPerSecond" ? parseRate(value) : parseCount("--disk iops", value);
    disk.rateLimits = { ...disk.rateLimits, [what]: { ...disk.rateLimits?.[what], [unit]: rate } };
  };
}

/** Bytes a second: a size, where a bare number counts bytes. */
function parseRate(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : parseSize("--disk bps", text);
}

function oneOf<T extends string>(property: string, text: string, values: readonly T[]): T {
  const value = values.find((one) => one === text);
  if (value === undefined) {
    throw new UsageError(`--disk: ${property}: "${text}" is not one of ${values.join(", ")}`);
  }
  return value;
}
