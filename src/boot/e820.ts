/** The memory map in the form of the BIOS call of that name (ACPI specification, section 15). */
import type { RamRegion } from "./guest-ram.ts";
import { EBDA_ADDRESS, HIGH_MEMORY } from "./layout.ts";

export const E820_TYPE_RAM = 1;
export const E820_TYPE_RESERVED = 2;

export interface E820Entry {
  /** Guest physical address of the first byte. */
  readonly addr: number;
  /** Bytes. */
  readonly size: number;
  readonly type: typeof E820_TYPE_RAM | typeof E820_TYPE_RESERVED;
}

/**
 * The e820 map of a guest with this RAM, ascending. From the EBDA to 1 MiB it is reserved: the MP tables lie there, and
 * a PC has its video memory and its BIOS there.
 */
export function e820Map(regions: readonly RamRegion[]): E820Entry[] {
  const map: E820Entry[] = [];
  for (const { gpa, size } of regions) {
    if (gpa >= HIGH_MEMORY) {
      map.push({ addr: gpa, size, type: E820_TYPE_RAM });
      continue;
    }
    map.push({ addr: gpa, size: Math.min(size, EBDA_ADDRESS - gpa), type: E820_TYPE_RAM });
    map.push({ addr: EBDA_ADDRESS, size: HIGH_MEMORY - EBDA_ADDRESS, type: E820_TYPE_RESERVED });
    const end = gpa + size;
    if (end > HIGH_MEMORY) map.push({ addr: HIGH_MEMORY, size: end - HIGH_MEMORY, type: E820_TYPE_RAM });
  }
  return map;
}
