/**
 * ELF kernels: a vmlinux, or any small guest linked to a physical address. Entered through the PVH note where there is one
 * (Xen: docs/misc/pvh.pandoc), and otherwise by the 64-bit boot protocol at e_entry.
 */
import {
  ELFCLASS32,
  ELFCLASS64,
  ELFDATA2LSB,
  EM_386,
  EM_X86_64,
  ET_CORE,
  ET_DYN,
  ET_EXEC,
  ET_REL,
  Elf32_Ehdr,
  Elf32_Phdr,
  Elf64_Ehdr,
  Elf64_Phdr,
  Elf_Nhdr,
  PN_XNUM,
  PT_INTERP,
  PT_LOAD,
  PT_NOTE,
  PT_TLS,
  machineName,
} from "./elf-format.ts";
import { GuestTooSmallError, KernelFormatError, KernelTruncatedError } from "./errors.ts";
import type { GuestRam } from "./guest-ram.ts";
import type { AddressRange } from "./initrd.ts";
import { OCCUPIED } from "./layout.ts";
import { alignUp, formatBytes, hex, wholeMiB } from "./quantities.ts";
import { HOLE_START } from "../kvm/memory-map.ts";
import { readAt, type BootFile } from "./read-at.ts";

/** Kernels have about five. */
const MAX_PHNUM = 128;
/** Kernels have about a hundred bytes. */
const MAX_NOTE_SEGMENT = 0x1_0000;

const XEN_ELFNOTE_PHYS32_ENTRY = 18;

/** One PT_LOAD segment; all numbers in bytes. */
export interface ElfSegment {
  /** Position among the program headers, from 0, for errors. */
  readonly index: number;
  readonly p_offset: number;
  readonly p_vaddr: bigint;
  readonly p_paddr: number;
  readonly p_filesz: number;
  readonly p_memsz: number;
}

export interface ElfKernel {
  readonly segments: readonly ElfSegment[];
  readonly protocol: "linux64" | "pvh";
  /** Guest physical address of the first instruction. */
  readonly entry: number;
  /** From the first to behind the last byte of all segments in guest memory. */
  readonly range: AddressRange;
}

/**
 * Reads the headers and checks all that can be checked without knowing the guest's memory.
 *
 * @param head The first 64 bytes of the file or more; the file is known to begin with the ELF magic.
 */
export function parseElf(file: BootFile, head: Uint8Array): ElfKernel {
  const header = parseHeader(file, head);
  const programHeaders = readProgramHeaders(file, header);
  const pvhEntry = findPvhEntry(file, programHeaders);
  rejectPrograms(file, header, programHeaders, pvhEntry);

  const segments = loadSegments(file, programHeaders);
  const entry = pvhEntry ?? physicalEntry(file, header, segments);
  const inside = segments.some(({ p_paddr, p_memsz }) => entry >= p_paddr && entry < p_paddr + p_memsz);
  if (!inside) {
    throw new KernelFormatError(`${file.path}: the entry point ${hex(entry)} lies in no segment of the file`);
  }
  return {
    segments,
    protocol: pvhEntry === undefined ? "linux64" : "pvh",
    entry,
    range: {
      start: Math.min(...segments.map(({ p_paddr }) => p_paddr)),
      end: Math.max(...segments.map(({ p_paddr, p_memsz }) => p_paddr + p_memsz)),
    },
  };
}

/** Copies the segments to where they belong. What lies behind p_filesz is zero because guest memory starts so. */
export function loadElf(ram: GuestRam, file: BootFile, kernel: ElfKernel): void {
  for (const segment of kernel.segments) checkPlace(ram, file, segment);
  for (const { p_paddr, p_offset, p_filesz } of kernel.segments) {
    if (p_filesz > 0) ram.readFile(p_paddr, file.fd, p_offset, p_filesz);
  }
}

interface Header {
  readonly is64: boolean;
  readonly e_type: number;
  readonly e_entry: bigint;
  readonly e_phoff: number;
  readonly e_phnum: number;
}

interface ProgramHeader {
  readonly index: number;
  readonly p_type: number;
  readonly p_offset: number;
  readonly p_vaddr: bigint;
  readonly p_paddr: number;
  readonly p_filesz: number;
  readonly p_memsz: number;
  readonly p_align: number;
}

function parseHeader(file: BootFile, head: Uint8Array): Header {
  const { path } = file;
  const elfClass = head[4];
  if (elfClass !== ELFCLASS32 && elfClass !== ELFCLASS64) {
    throw new KernelFormatError(`${path}: damaged ELF file: class ${elfClass ?? "missing"}`);
  }
  if (head[5] !== ELFDATA2LSB) {
    throw new KernelFormatError(`${path} is a big-endian ELF file`, "tsvm boots x86-64 kernels");
  }
  const is64 = elfClass === ELFCLASS64;
  const size = is64 ? Elf64_Ehdr.size : Elf32_Ehdr.size;
  if (head.length < size) {
    throw new KernelTruncatedError(`${path} is truncated within its ELF header`, size - head.length);
  }
  const header = is64 ? Elf64_Ehdr.unpack(head) : Elf32_Ehdr.unpack(head);
  const { e_machine, e_type, e_phentsize, e_phnum } = header;
  if (e_machine !== EM_X86_64 && e_machine !== EM_386) {
    throw new KernelFormatError(
      `${path} is an ELF file for ${machineName(e_machine)}, and this is an x86-64 machine`,
      "use a kernel built for x86-64",
    );
  }
  if (e_type !== ET_EXEC && e_type !== ET_DYN) {
    const what =
      e_type === ET_REL
        ? "an object file or kernel module"
        : e_type === ET_CORE
          ? "a core dump"
          : `an ELF file of type ${e_type}`;
    throw new KernelFormatError(`${path} is ${what}, not a kernel`, "a vmlinux or a bzImage can be booted");
  }
  if (e_phnum === 0 || e_phnum === PN_XNUM || e_phnum > MAX_PHNUM) {
    throw new KernelFormatError(`${path}: ${e_phnum} program headers: no kernel, or a damaged one`);
  }
  if (e_phentsize !== (is64 ? Elf64_Phdr.size : Elf32_Phdr.size)) {
    throw new KernelFormatError(`${path}: damaged ELF file: program headers of ${e_phentsize} bytes`);
  }
  return { is64, e_type, e_entry: BigInt(header.e_entry), e_phoff: Number(header.e_phoff), e_phnum };
}

function readProgramHeaders(file: BootFile, { is64, e_phoff, e_phnum }: Header): ProgramHeader[] {
  const layout = is64 ? Elf64_Phdr : Elf32_Phdr;
  const length = e_phnum * layout.size;
  checkInFile(file, e_phoff, length, "its program headers");
  const table = readAt(file, e_phoff, length);
  // The size was checked, but another process may cut the file meanwhile.
  checkRead(file, table, length);
  return Array.from({ length: e_phnum }, (_, index) => {
    // Numbers lose precision above 2^53 only, where no bounds check passes anyway.
    const header = layout.unpack(table, index * layout.size);
    return {
      index,
      p_type: header.p_type,
      p_offset: Number(header.p_offset),
      p_vaddr: BigInt(header.p_vaddr),
      p_paddr: Number(header.p_paddr),
      p_filesz: Number(header.p_filesz),
      p_memsz: Number(header.p_memsz),
      p_align: Number(header.p_align),
    };
  });
}

function loadSegments(file: BootFile, programHeaders: readonly ProgramHeader[]): ElfSegment[] {
  const segments = programHeaders.filter(({ p_type, p_memsz }) => p_type === PT_LOAD && p_memsz > 0);
  if (segments.length === 0) throw new KernelFormatError(`${file.path}: the ELF file has nothing to load`);
  for (const segment of segments) {
    const { index, p_offset, p_paddr, p_filesz, p_memsz } = segment;
    if (p_filesz > p_memsz) {
      throw new KernelFormatError(
        `${file.path}: segment ${index} has ${p_filesz} bytes in the file but ${p_memsz} in memory`,
      );
    }
    checkInFile(file, p_offset, p_filesz, `segment ${index}`);
    for (const { start, end, what } of OCCUPIED) {
      if (p_paddr < end && p_paddr + p_memsz > start) {
        throw new KernelFormatError(
          `${file.path}: segment ${index} at ${hex(p_paddr)} (${formatBytes(p_memsz)}) would overwrite ${what} at ${hex(start)} to ${hex(end)}`,
          "link the kernel to 1 MiB (0x100000) or higher",
        );
      }
    }
  }
  // Without overlap, loading costs no more than the memory has bytes, however many headers point at the same bytes.
  const ascending = segments.toSorted((a, b) => a.p_paddr - b.p_paddr);
  for (const [position, segment] of ascending.entries()) {
    const next = ascending[position + 1];
    if (next !== undefined && segment.p_paddr + segment.p_memsz > next.p_paddr) {
      throw new KernelFormatError(
        `${file.path}: segments ${segment.index} and ${next.index} overlap in memory at ${hex(next.p_paddr)}`,
      );
    }
  }
  return segments;
}

/** e_entry as a physical address. vmlinux gives it so; other linkers write the virtual one. */
function physicalEntry(file: BootFile, header: Header, segments: readonly ElfSegment[]): number {
  if (!header.is64) {
    throw new KernelFormatError(
      `${file.path} is a 32-bit ELF kernel without a PVH entry`,
      "use a 64-bit kernel, or build this one with CONFIG_PVH=y",
    );
  }
  const { e_entry } = header;
  const physical = segments.some(
    ({ p_paddr, p_memsz }) => e_entry >= BigInt(p_paddr) && e_entry < BigInt(p_paddr) + BigInt(p_memsz),
  );
  if (physical) return Number(e_entry);
  const home = segments.find(
    ({ p_vaddr, p_memsz }) => e_entry >= p_vaddr && e_entry < p_vaddr + BigInt(p_memsz),
  );
  if (home !== undefined) return Number(e_entry - home.p_vaddr) + home.p_paddr;
  throw new KernelFormatError(`${file.path}: the entry point ${hex(e_entry)} lies in no segment of the file`);
}

/** A program for an operating system would load without complaint and crash at its first system call. */
function rejectPrograms(
  file: BootFile,
  header: Header,
  programHeaders: readonly ProgramHeader[],
  pvhEntry: number | undefined,
): void {
  if (pvhEntry !== undefined) return;
  const dynamic = programHeaders.some(({ p_type }) => p_type === PT_INTERP);
  const threads = programHeaders.some(({ p_type }) => p_type === PT_TLS);
  if (dynamic || threads || header.e_type === ET_DYN) {
    throw new KernelFormatError(
      `${file.path} is a program or library for an operating system, not a kernel`,
      "to run it in a guest, put it on the guest's disk or into its initrd",
    );
  }
}

function findPvhEntry(file: BootFile, programHeaders: readonly ProgramHeader[]): number | undefined {
  for (const { index, p_type, p_offset, p_filesz, p_align } of programHeaders) {
    if (p_type !== PT_NOTE) continue;
    checkInFile(file, p_offset, p_filesz, `its notes (segment ${index})`);
    if (p_filesz > MAX_NOTE_SEGMENT) continue;
    const notes = readAt(file, p_offset, p_filesz);
    checkRead(file, notes, p_filesz);
    const entry = pvhEntryOf(file, notes, p_align === 8 ? 8 : 4);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

function pvhEntryOf(file: BootFile, notes: Uint8Array, align: 4 | 8): number | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  let offset = 0;
  while (offset + Elf_Nhdr.size <= notes.length) {
    const { n_namesz, n_descsz, n_type } = Elf_Nhdr.unpack(notes, offset);
    const name = offset + Elf_Nhdr.size;
    const desc = alignUp(name + n_namesz, align);
    if (desc + n_descsz > notes.length) {
      throw new KernelFormatError(`${file.path}: damaged ELF file: a note reaches beyond its segment`);
    }
    const isXen = n_namesz === 4 && view.getUint32(name, true) === XEN;
    if (isXen && n_type === XEN_ELFNOTE_PHYS32_ENTRY) {
      // As wide as a pointer of the kernel; only 32 bits count, because the entry is in 32-bit mode.
      if (n_descsz === 8) return Number(view.getBigUint64(desc, true));
      if (n_descsz === 4) return view.getUint32(desc, true);
      throw new KernelFormatError(`${file.path}: damaged PVH note: an entry point of ${n_descsz} bytes`);
    }
    offset = alignUp(desc + n_descsz, align);
  }
  return undefined;
}

/** "Xen\0" */
const XEN = 0x006e_6558;

/** RAM above the hole does not count: neither the 32-bit entry nor the identity mapping reaches it. */
function checkPlace(ram: GuestRam, file: BootFile, { index, p_paddr, p_memsz }: ElfSegment): void {
  const end = p_paddr + p_memsz;
  if (end <= HOLE_START && ram.contains(p_paddr, p_memsz)) return;
  const where = `${file.path}: segment ${index} (${formatBytes(p_memsz)} at ${hex(p_paddr)})`;
  const memory = ram.regions.reduce((sum, region) => sum + region.size, 0);
  if (end > HOLE_START) {
    throw new GuestTooSmallError(
      `${where} lies outside the guest's memory of ${formatBytes(memory)}`,
      undefined,
      "link the kernel to a lower physical address",
    );
  }
  throw new GuestTooSmallError(
    `${where} does not fit into ${formatBytes(memory)} of guest memory`,
    end,
    `give the guest at least ${wholeMiB(end)} MiB (--memory)`,
  );
}

function checkInFile(file: BootFile, offset: number, length: number, what: string): void {
  const end = offset + length;
  if (end <= file.size) return;
  throw new KernelTruncatedError(
    `${file.path} is truncated: ${what} would end at byte ${end}, and the file has ${file.size}: ${end - file.size} bytes are missing`,
    end - file.size,
  );
}

function checkRead(file: BootFile, bytes: Uint8Array, length: number): void {
  if (bytes.length === length) return;
  throw new KernelTruncatedError(
    `${file.path} is truncated: ${length - bytes.length} bytes are missing`,
    length - bytes.length,
  );
}
