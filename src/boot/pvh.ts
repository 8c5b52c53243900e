/**
 * What a kernel entered by the PVH protocol learns of its machine: `struct hvm_start_info`, version 1, found through EBX.
 * Xen: docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h.
 */
import { struct, u32, u64 } from "../ffi/struct.ts";
import type { E820Entry } from "./e820.ts";
import { HVM_MEMMAP_ADDRESS, HVM_MODLIST_ADDRESS, HVM_START_INFO_ADDRESS } from "./layout.ts";

export const XEN_HVM_START_MAGIC_VALUE = 0x336e_c578;

export const hvm_start_info = struct("hvm_start_info", {
  magic: u32,
  version: u32,
  flags: u32,
  nr_modules: u32,
  modlist_paddr: u64,
  cmdline_paddr: u64,
  rsdp_paddr: u64,
  memmap_paddr: u64,
  memmap_entries: u32,
  reserved: u32,
});

export const hvm_modlist_entry = struct("hvm_modlist_entry", {
  paddr: u64,
  size: u64,
  cmdline_paddr: u64,
  reserved: u64,
});

/** The types are those of e820. */
export const hvm_memmap_table_entry = struct("hvm_memmap_table_entry", {
  addr: u64,
  size: u64,
  type: u32,
  reserved: u32,
});

export interface PvhParams {
  /** Guest physical address of the NUL-terminated command line. */
  readonly cmdline: number;
  readonly initrd?: { readonly gpa: number; readonly size: number } | undefined;
  readonly e820: readonly E820Entry[];
  /** Guest physical address of the ACPI root pointer. */
  readonly rsdp?: number | undefined;
}

/** The start info and its tables, each with the guest physical address it belongs to. */
export function pvhStartInfo({
  cmdline,
  initrd,
  e820,
  rsdp = 0,
}: PvhParams): { gpa: number; bytes: Uint8Array }[] {
  const memmap = new Uint8Array(e820.length * hvm_memmap_table_entry.size);
  for (const [index, { addr, size, type }] of e820.entries()) {
    const entry = hvm_memmap_table_entry.pack({ addr: BigInt(addr), size: BigInt(size), type });
    memmap.set(entry, index * hvm_memmap_table_entry.size);
  }
  const startInfo = hvm_start_info.pack({
    magic: XEN_HVM_START_MAGIC_VALUE,
    version: 1,
    cmdline_paddr: BigInt(cmdline),
    rsdp_paddr: BigInt(rsdp),
    memmap_paddr: BigInt(HVM_MEMMAP_ADDRESS),
    memmap_entries: e820.length,
    // Linux takes the first module for its initrd.
    ...(initrd && { nr_modules: 1, modlist_paddr: BigInt(HVM_MODLIST_ADDRESS) }),
  });
  const parts = [
    { gpa: HVM_START_INFO_ADDRESS, bytes: startInfo as Uint8Array },
    { gpa: HVM_MEMMAP_ADDRESS, bytes: memmap },
  ];
  if (initrd) {
    const module = hvm_modlist_entry.pack({ paddr: BigInt(initrd.gpa), size: BigInt(initrd.size) });
    parts.push({ gpa: HVM_MODLIST_ADDRESS, bytes: module });
  }
  return parts;
}
