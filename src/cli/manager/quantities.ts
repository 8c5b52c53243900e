/** Sizes and times as people read and write them. */
import { UsageError } from "../errors.ts";
import { parseDuration } from "../values.ts";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** `1.5 GiB`. */
export function sizeText(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || Number.isInteger(value) || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]!}`;
}

const SECOND = 1000;
const TIMES: readonly (readonly [letter: string, ms: number])[] = [
  ["d", 86_400 * SECOND],
  ["h", 3600 * SECOND],
  ["m", 60 * SECOND],
  ["s", SECOND],
];

/** The two largest units: `3d 4h`, `12s`. */
export function durationText(ms: number): string {
  const at = TIMES.findIndex(([, unit]) => ms >= unit);
  if (at < 0) return "0s";
  const [letter, unit] = TIMES[at]!;
  const count = Math.floor(ms / unit);
  const next = TIMES[at + 1];
  const rest = next === undefined ? 0 : Math.floor((ms - count * unit) / next[1]);
  return `${count}${letter}${rest === 0 ? "" : ` ${rest}${next![0]}`}`;
}

/** `10m` (so long ago) or a time as Date takes it, such as 2026-01-31T12:00:00Z. ms since 1970. */
export function parseMoment(option: string, text: string, now = Date.now()): number {
  if (/^\d+(\.\d+)?(ms|s|m|h|)$/.test(text.trim())) return now - parseDuration(option, text);
  const time = Date.parse(text);
  if (Number.isNaN(time)) {
    throw new UsageError(
      `${option}: "${text}" is not a time`,
      "write for example 10m, or 2026-01-31T12:00:00Z",
    );
  }
  return time;
}
