/** Segments for kernel entry, and the global descriptor table that holds them. Intel SDM volume 3A, section 3.4.5. */
import type { InitialSegment } from "./cpu-state.ts";

/** Selectors that boot.rst ("64-bit Boot Protocol") prescribes. */
export const __BOOT_CS = 0x10;
export const __BOOT_DS = 0x18;
const BOOT_TSS = 0x20;

const EXECUTE_READ_ACCESSED = 0xb;
const READ_WRITE_ACCESSED = 0x3;
const TSS_BUSY = 0xb;

const flat = { base: 0, limit: 0xffff_ffff, present: 1, dpl: 0, s: 1, g: 1 } as const;

export function codeSegment64(): InitialSegment {
  return { ...flat, selector: __BOOT_CS, type: EXECUTE_READ_ACCESSED, db: 0, l: 1 };
}

export function codeSegment32(): InitialSegment {
  return { ...flat, selector: __BOOT_CS, type: EXECUTE_READ_ACCESSED, db: 1, l: 0 };
}

export function dataSegment(): InitialSegment {
  return { ...flat, selector: __BOOT_DS, type: READ_WRITE_ACCESSED, db: 1, l: 0 };
}

/** KVM refuses to run without a task register; PVH wants it with base 0 and limit 0x67. */
export function taskSegment(): InitialSegment {
  return {
    selector: BOOT_TSS,
    base: 0,
    limit: 0x67,
    type: TSS_BUSY,
    present: 1,
    dpl: 0,
    db: 0,
    s: 0,
    l: 0,
    g: 0,
  };
}

/** A GDT with these segments at the places their selectors name. */
export function globalDescriptorTable(segments: readonly InitialSegment[]): Uint8Array {
  const end = Math.max(...segments.map(({ selector, s }) => selector + (s === 0 ? 16 : 8)));
  const table = new Uint8Array(end);
  const view = new DataView(table.buffer);
  for (const segment of segments) {
    const { base, type, present, dpl, db, s, l, g } = segment;
    const limit = g === 1 ? Math.floor(segment.limit / 4096) : segment.limit;
    const low = ((base & 0xffff) << 16) | (limit & 0xffff);
    const access = type | (s << 4) | (dpl << 5) | (present << 7);
    const flags = ((limit >>> 16) & 0xf) | (l << 5) | (db << 6) | (g << 7);
    const high = ((base >>> 16) & 0xff) | (access << 8) | (flags << 16) | (base & 0xff00_0000);
    view.setUint32(segment.selector, low >>> 0, true);
    view.setUint32(segment.selector + 4, high >>> 0, true);
    // A system descriptor has 16 bytes in long mode; the second half are the upper bits of the base: zero.
  }
  return table;
}
