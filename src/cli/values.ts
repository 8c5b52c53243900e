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

/** `PATH[,ro][,overlay][,ephemeral][,format=raw|qcow2][,serial=TEXT]`. */
export function parseDisk(text: string): DiskDescription {
  const [path = "", ...flags] = text.split(",");
  if (path === "") throw new UsageError(`--disk: "${text}" names no file`);
  const disk: DiskDescription = { path };
  for (const flag of flags) {
    if (flag === "ro") disk.readOnly = true;
    else if (flag === "ephemeral") disk.ephemeral = true;
    else if (flag === "overlay") disk.overlay = true;
    else if (flag === "format=raw" || flag === "format=qcow2")
      disk.format = flag === "format=raw" ? "raw" : "qcow2";
    else if (flag.startsWith("serial=")) disk.serial = flag.slice("serial=".length);
    else
      throw new UsageError(
        `--disk: unknown property "${flag}"`,
        "known are ro, overlay, ephemeral, format=raw, format=qcow2 and serial=TEXT",
      );
  }
  return disk;
}
