/**
 * bzImage: what `make` for x86 Linux leaves and distributions call vmlinuz. Setup sectors with a header, then a program that
 * unpacks the kernel proper, whatever it is compressed with. Entered by the 64-bit boot protocol. Documentation/x86/boot.rst.
 */
import {
  BOOT_FLAG,
  HEADER_MAGIC,
  SETUP_HEADER_LIMIT,
  SETUP_HEADER_START,
  setup_header,
} from "./boot-params.ts";
import { GuestTooSmallError, KernelFormatError, KernelTruncatedError } from "./errors.ts";
import { readPacked } from "./fields.ts";
import type { GuestRam } from "./guest-ram.ts";
import type { AddressRange } from "./initrd.ts";
import { HIGH_MEMORY } from "./layout.ts";
import { GiB, alignUp, formatBytes, hex, wholeMiB } from "./quantities.ts";
import { HOLE_START } from "../kvm/memory-map.ts";
import { readAt, type BootFile } from "./read-at.ts";

const SECTOR = 512;
/** boot.rst, setup_sects: "For backwards compatibility, if the setup_sects field contains 0, the real value is 4." */
const DEFAULT_SETUP_SECTS = 4;
/** The first version with xloadflags, of Linux 3.8. */
const LEAST_VERSION = 0x020c;
const LOADED_HIGH = 1 << 0;
const XLF_KERNEL_64 = 1 << 0;
const XLF_CAN_BE_LOADED_ABOVE_4G = 1 << 1;
/** 64-bit entry point, from the start of the protected-mode code. */
const ENTRY_64 = 0x200;
/** The header fields that are read here end where init_size does. */
const LEAST_HEADER_END = 0x264;
const SYSSIZE_UNIT = 16;
const KERNEL_VERSION_BASE = 0x200;
const MAX_KERNEL_VERSION = 256;

export interface BzImage {
  /** The setup header as it stands in the file. */
  readonly setupHeader: Uint8Array;
  /** The protected-mode code: bytes [offset, offset + size) of the file. */
  readonly code: { readonly offset: number; readonly size: number };
  /** Guest physical address the protected-mode code is loaded to. */
  readonly loadAddress: number;
  /** Guest physical address of the first instruction. */
  readonly entry: number;
  /** Guest memory the kernel needs before it can look at its memory map. */
  readonly range: AddressRange;
  /** Longest command line in bytes, without NUL. */
  readonly cmdlineSize: number;
  /** Highest address the last byte of an initrd may have. */
  readonly initrdAddrMax: number;
  readonly initrdAbove4G: boolean;
  /** Such as `6.1.0-13-cloud-amd64 (…) #1 SMP …`; undefined if the file does not say. */
  readonly kernelVersion: string | undefined;
}

/** Whether this is the beginning of a Linux kernel for x86, in whatever version of the boot protocol. */
export function isBzImage(head: Uint8Array): boolean {
  if (head.length < 0x206) return false;
  const { boot_flag, header } = readPacked(setup_header, head);
  return boot_flag === BOOT_FLAG && header === HEADER_MAGIC;
}

/**
 * Reads the headers and checks all that can be checked without knowing the guest's memory.
 *
 * @param head The first 4 KiB of the file, or all of a shorter one; {@link isBzImage} holds.
 */
export function parseBzImage(file: BootFile, head: Uint8Array): BzImage {
  const { path } = file;
  if (file.size < SETUP_HEADER_LIMIT || head.length < SETUP_HEADER_LIMIT) {
    const missing = SETUP_HEADER_LIMIT - Math.min(file.size, head.length);
    throw new KernelTruncatedError(`${path} is truncated within the header of the kernel`, missing);
  }
  const header = readPacked(setup_header, head);
  checkVersion(path, header);
  const code = findCode(file, header);
  const initSize = Math.max(header.init_size, code.size);
  const { loadAddress, runtimeStart } = loadAddresses(path, header);
  const end = runtimeStart + initSize;
  if (end > 4 * GiB) {
    throw new KernelFormatError(
      `${path}: damaged kernel header: ${formatBytes(initSize)} at ${hex(loadAddress)} reach beyond 4 GiB`,
    );
  }
  return {
    setupHeader: head.slice(SETUP_HEADER_START, setupHeaderEnd(path, head)),
    code,
    loadAddress,
    entry: loadAddress + ENTRY_64,
    range: { start: loadAddress, end },
    cmdlineSize: header.cmdline_size,
    initrdAddrMax: header.initrd_addr_max,
    initrdAbove4G: (header.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) !== 0,
    kernelVersion: kernelVersion(file, header, code.offset),
  };
}

/** Copies the protected-mode code to where it belongs. */
export function loadBzImage(ram: GuestRam, file: BootFile, image: BzImage): void {
  const { start, end } = image.range;
  if (!ram.contains(start, end - start)) {
    const memory = ram.regions.reduce((sum, region) => sum + region.size, 0);
    const helps = end <= HOLE_START;
    throw new GuestTooSmallError(
      `${file.path}: the kernel needs ${formatBytes(end - start)} from ${hex(start)} (${formatBytes(start)}) on to start, and the guest has ${formatBytes(memory)} of memory`,
      helps ? end : undefined,
      helps
        ? `give the guest at least ${wholeMiB(end)} MiB (--memory)`
        : "build the kernel with a smaller CONFIG_PHYSICAL_START",
    );
  }
  ram.readFile(image.loadAddress, file.fd, image.code.offset, image.code.size);
}

function checkVersion(path: string, header: setup_header): void {
  const { version, xloadflags, loadflags } = header;
  if (version < LEAST_VERSION) {
    throw new KernelFormatError(
      `${path} speaks version ${version >> 8}.${version & 0xff} of the Linux boot protocol, and 2.12 is the first with a 64-bit entry that can be relied on`,
      "use Linux 3.8 or later",
    );
  }
  if ((xloadflags & XLF_KERNEL_64) === 0) {
    throw new KernelFormatError(`${path} is a 32-bit Linux kernel`, "use a 64-bit (x86-64) kernel");
  }
  if ((loadflags & LOADED_HIGH) === 0) {
    throw new KernelFormatError(
      `${path} is a zImage, which loads below 1 MiB`,
      "use the bzImage of the kernel",
    );
  }
}

function findCode(file: BootFile, header: setup_header): BzImage["code"] {
  const setupSects = header.setup_sects === 0 ? DEFAULT_SETUP_SECTS : header.setup_sects;
  const offset = (setupSects + 1) * SECTOR;
  const size = header.syssize * SYSSIZE_UNIT;
  if (size <= ENTRY_64) {
    throw new KernelFormatError(`${file.path}: damaged kernel header: only ${size} bytes of code`);
  }
  const missing = offset + size - file.size;
  if (missing > 0) {
    throw new KernelTruncatedError(
      `${file.path} is truncated: the kernel has ${offset + size} bytes, and the file ${file.size}: ${missing} bytes are missing`,
      missing,
    );
  }
  return { offset, size };
}

/**
 * At pref_address. The header of a relocatable kernel lets one think that it could also go lower, but 64-bit Linux then moves
 * itself up to pref_address (startup_64 in arch/x86/boot/compressed/head_64.S, LOAD_PHYSICAL_ADDR): lower saves nothing,
 * and in a guest too small for pref_address it would unpack itself into nowhere, without a word.
 */
function loadAddresses(path: string, header: setup_header): { loadAddress: number; runtimeStart: number } {
  const { kernel_alignment, relocatable_kernel } = header;
  const relocatable = relocatable_kernel !== 0;
  const isPowerOfTwo = kernel_alignment > 0 && Number.isInteger(Math.log2(kernel_alignment));
  if (relocatable && !isPowerOfTwo) {
    throw new KernelFormatError(`${path}: damaged kernel header: alignment of ${hex(kernel_alignment)}`);
  }
  const alignment = relocatable ? kernel_alignment : 1;
  const preferred = Number(header.pref_address);
  const loadAddress = preferred === 0 ? alignUp(HIGH_MEMORY, alignment) : preferred;
  if (loadAddress < HIGH_MEMORY) {
    throw new KernelFormatError(
      `${path}: damaged kernel header: load address ${hex(loadAddress)} is below 1 MiB`,
    );
  }
  return { loadAddress, runtimeStart: alignUp(loadAddress, alignment) };
}

/** boot.rst, "64-bit Boot Protocol": 0x202 plus the byte at 0x201, which is the offset of the jump over the header. */
function setupHeaderEnd(path: string, head: Uint8Array): number {
  const end = 0x202 + head[0x201]!;
  if (end < LEAST_HEADER_END || end > SETUP_HEADER_LIMIT) {
    throw new KernelFormatError(`${path}: damaged kernel header: it would end at ${hex(end)}`);
  }
  return end;
}

/** The text that `file` and `uname` show; of no consequence, so that a damaged one is just left out. */
function kernelVersion(file: BootFile, header: setup_header, setupEnd: number): string | undefined {
  const offset = header.kernel_version + KERNEL_VERSION_BASE;
  if (header.kernel_version === 0 || offset >= setupEnd) return undefined;
  const bytes = readAt(file, offset, Math.min(MAX_KERNEL_VERSION, setupEnd - offset));
  const end = bytes.indexOf(0);
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, Math.max(end, 0)));
  return /^[\x20-\x7e]+$/.test(text) ? text : undefined;
}
