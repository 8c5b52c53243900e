/** Sizes and times as people write them. */

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};
const TIME_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A number with `K`, `M`, `G` or `T` (powers of 1024, also as `MiB` or `MB`) or `B`. */
export const SIZE = /^(\d+(?:\.\d+)?) ?(?:([KMGTkmgt])(?:i?[Bb])?|B)$/;
/** A number with `ms`, `s`, `m`, `h` or `d`. */
export const DURATION = /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d)$/;

/** Bytes, rounded to whole ones; undefined if `text` is no {@link SIZE}. */
export function parseSize(text: string): number | undefined {
  const match = SIZE.exec(text);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * SIZE_UNITS[(match[2] ?? "").toUpperCase()]!);
}

/** Milliseconds; undefined if `text` is no {@link DURATION}. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text);
  return match === null ? undefined : Number(match[1]) * TIME_UNITS[match[2]!]!;
}

/** In the largest unit that leaves no fraction, such as `512M`. */
export function formatSize(bytes: number): string {
  const unit = ["T", "G", "M", "K"].find((name) => bytes > 0 && bytes % SIZE_UNITS[name]! === 0);
  return unit === undefined ? `${bytes}B` : `${bytes / SIZE_UNITS[unit]!}${unit}`;
}

/** In the largest unit that leaves no fraction, such as `30s`. */
export function formatDuration(ms: number): string {
  const unit = ["d", "h", "m", "s"].find((name) => ms > 0 && ms % TIME_UNITS[name]! === 0) ?? "ms";
  return `${ms / TIME_UNITS[unit]!}${unit}`;
}
