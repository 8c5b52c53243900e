/** How messages write addresses and amounts of memory and disk. */

export const KiB = 2 ** 10;
export const MiB = 2 ** 20;
export const GiB = 2 ** 30;
export const PAGE_SIZE = 4 * KiB;
const UNITS = [
  ["GiB", GiB],
  ["MiB", MiB],
  ["KiB", KiB],
] as const;

/** An address as programmers read it: `0x1000000`. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** An amount of bytes as people read it: `80 MiB`, `1.5 GiB`, `17 bytes`. */
export function formatBytes(bytes: number): string {
  if (bytes === 1) return "1 byte";
  for (const [unit, size] of UNITS) {
    if (bytes >= size) return `${Number((bytes / size).toFixed(1))} ${unit}`;
  }
  return `${bytes} bytes`;
}

/** The same where it tells all, otherwise the number of bytes: `1.5 GiB`, `1610612737 bytes`. */
export function formatBytesExactly(bytes: number): string {
  const [, size = 1] = UNITS.find(([, unit]) => bytes >= unit) ?? [];
  return (bytes * 10) % size === 0 ? formatBytes(bytes) : `${bytes} bytes`;
}

export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

export function alignDown(value: number, alignment: number): number {
  return Math.floor(value / alignment) * alignment;
}

/** `bytes` rounded up to whole MiB, for advice about --memory. */
export function wholeMiB(bytes: number): number {
  return Math.ceil(bytes / MiB);
}
