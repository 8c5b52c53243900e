/**
 * Where boot code puts its structures: all of it in the first MiB, which kernels leave alone until they have read it.
 *
 *     0x00000  real-mode vectors; the BIOS data area at 0x400 and the GDT at 0x500
 *     0x01000  hvm_start_info, its module list and its memory map (PVH)
 *     0x06000  a page of stack
 *     0x07000  zero page: struct boot_params (64-bit boot protocol)
 *     0x09000  identity-mapping page tables
 *     0x10000  command line
 *     0x20000  free; Linux takes its real-mode trampoline from here
 *     0x9fc00  EBDA, reserved: MP floating pointer structure
 *     0xa0000  nothing here, reserved
 *     0xe0000  BIOS area, reserved: ACPI tables, the root pointer first
 *     0xf0000  BIOS area, reserved: MP configuration table
 *    0x100000  kernel, initrd
 */
import { KiB } from "./quantities.ts";

/** BIOS data area: word with the segment of the EBDA, and word with the KiB of base memory. */
export const BDA_EBDA_SEGMENT = 0x40e;
export const BDA_BASE_MEMORY_KIB = 0x413;

export const GDT_ADDRESS = 0x500;

export const HVM_START_INFO_ADDRESS = 0x1000;
export const HVM_MODLIST_ADDRESS = 0x1100;
export const HVM_MEMMAP_ADDRESS = 0x1200;

/** Initial stack pointer; the stack grows down from here. No protocol asks for a stack, small guests like one. */
export const BOOT_STACK_TOP = 0x7000;

export const ZERO_PAGE_ADDRESS = 0x7000;

export const PAGE_TABLES_ADDRESS = 0x9000;

export const COMMAND_LINE_ADDRESS = 0x1_0000;
/** Bytes set aside for the command line and its final NUL. */
export const COMMAND_LINE_SPACE = 64 * KiB;

/** End of what the boot code writes at the bottom of memory. */
export const LOW_STRUCTURES_END = COMMAND_LINE_ADDRESS + COMMAND_LINE_SPACE;

/** Extended BIOS data area: the last KiB of base memory, one of the places where an MP floating pointer may stand. */
export const EBDA_ADDRESS = 0x9_fc00;
export const MP_FLOATING_POINTER_ADDRESS = EBDA_ADDRESS;
/** 255 processor entries do not fit into the EBDA; the BIOS area has room, and is reserved all the same. */
export const MP_TABLE_ADDRESS = 0xf_0000;

/** Where a kernel that is not told looks for the ACPI root pointer: from here to 1 MiB, at 16-byte boundaries. */
export const ACPI_RSDP_ADDRESS = 0xe_0000;
export const ACPI_END = MP_TABLE_ADDRESS;

/** Kernels and initrds lie above this. */
export const HIGH_MEMORY = 0x10_0000;

/** What a kernel's segments must keep clear of: [start, end) and what is there. */
export const OCCUPIED = [
  { start: 0, end: LOW_STRUCTURES_END, what: "the boot parameters" },
  { start: EBDA_ADDRESS, end: HIGH_MEMORY, what: "the reserved BIOS area" },
] as const;
