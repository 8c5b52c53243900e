/** The zero page: what a kernel entered by the 64-bit boot protocol learns of its machine. Documentation/x86/zero-page.rst. */
import { u16, u32, u64, u8 } from "../ffi/struct.ts";
import type { E820Entry } from "./e820.ts";
import { at, writePacked, type PackedValue } from "./fields.ts";
import { PAGE_SIZE } from "./quantities.ts";

/** `struct setup_header`, packed, with the offsets it has in the kernel file and in the zero page alike. boot.rst. */
export const setup_header = {
  setup_sects: at(0x1f1, u8),
  /** Size of the protected-mode code in 16-byte paragraphs. */
  syssize: at(0x1f4, u32),
  boot_flag: at(0x1fe, u16),
  jump: at(0x200, u16),
  header: at(0x202, u32),
  version: at(0x206, u16),
  /** Offset of the version string, less 0x200. */
  kernel_version: at(0x20e, u16),
  type_of_loader: at(0x210, u8),
  loadflags: at(0x211, u8),
  ramdisk_image: at(0x218, u32),
  ramdisk_size: at(0x21c, u32),
  cmd_line_ptr: at(0x228, u32),
  /** Highest address an initrd's last byte may have. */
  initrd_addr_max: at(0x22c, u32),
  kernel_alignment: at(0x230, u32),
  relocatable_kernel: at(0x234, u8),
  xloadflags: at(0x236, u16),
  /** Longest command line, without its NUL. */
  cmdline_size: at(0x238, u32),
  pref_address: at(0x258, u64),
  /** Memory needed from the runtime start of the kernel on, bytes. */
  init_size: at(0x260, u32),
} as const;
export type setup_header = PackedValue<typeof setup_header>;

/** The fields outside setup_header that a loader fills in. */
const boot_params = {
  acpi_rsdp_addr: at(0x070, u64),
  ext_ramdisk_image: at(0x0c0, u32),
  ext_ramdisk_size: at(0x0c4, u32),
  ext_cmd_line_ptr: at(0x0c8, u32),
  e820_entries: at(0x1e8, u8),
} as const;

export const SETUP_HEADER_START = 0x1f1;
/** Where edd_mbr_sig_buffer begins: no setup header reaches further. */
export const SETUP_HEADER_LIMIT = 0x290;

const E820_TABLE = 0x2d0;
const E820_ENTRY_SIZE = 20;
export const E820_MAX_ENTRIES_ZEROPAGE = 128;

export const BOOT_FLAG = 0xaa55;
/** "HdrS" */
export const HEADER_MAGIC = 0x5372_6448;
/** A loader without an id of its own. */
const TYPE_OF_LOADER_UNDEFINED = 0xff;

export interface BootParams {
  /** The kernel file's bytes from SETUP_HEADER_START to the end of its setup header; none for an ELF kernel. */
  readonly setupHeader?: Uint8Array;
  /** Guest physical address of the NUL-terminated command line. */
  readonly cmdline: number;
  readonly initrd?: { readonly gpa: number; readonly size: number } | undefined;
  readonly e820: readonly E820Entry[];
  /** Guest physical address of the ACPI root pointer. */
  readonly rsdp?: number | undefined;
}

/** The 4096 bytes of the zero page. */
export function zeroPage({ setupHeader, cmdline, initrd, e820, rsdp = 0 }: BootParams): Uint8Array {
  if (e820.length > E820_MAX_ENTRIES_ZEROPAGE) {
    throw new RangeError(`${e820.length} e820 entries do not fit into the zero page`);
  }
  const page = new Uint8Array(PAGE_SIZE);
  if (setupHeader !== undefined) page.set(setupHeader, SETUP_HEADER_START);
  else writePacked(setup_header, page, { boot_flag: BOOT_FLAG, header: HEADER_MAGIC, version: 0x020c });

  const image = initrd?.gpa ?? 0;
  const size = initrd?.size ?? 0;
  writePacked(setup_header, page, {
    type_of_loader: TYPE_OF_LOADER_UNDEFINED,
    cmd_line_ptr: low32(cmdline),
    ramdisk_image: low32(image),
    ramdisk_size: low32(size),
  });
  writePacked(boot_params, page, {
    acpi_rsdp_addr: BigInt(rsdp),
    ext_cmd_line_ptr: high32(cmdline),
    ext_ramdisk_image: high32(image),
    ext_ramdisk_size: high32(size),
    e820_entries: e820.length,
  });
  const view = new DataView(page.buffer);
  for (const [index, entry] of e820.entries()) {
    const offset = E820_TABLE + index * E820_ENTRY_SIZE;
    view.setBigUint64(offset, BigInt(entry.addr), true);
    view.setBigUint64(offset + 8, BigInt(entry.size), true);
    view.setUint32(offset + 16, entry.type, true);
  }
  return page;
}

function low32(value: number): number {
  return value % 2 ** 32;
}

function high32(value: number): number {
  return Math.floor(value / 2 ** 32);
}
