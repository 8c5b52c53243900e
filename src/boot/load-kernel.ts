/**
 * Puts a kernel, its initrd and all tables it expects into guest memory, and says in which state the first processor starts.
 * The guest memory is fresh and therefore zero; nothing here writes zeros.
 */
import type { AcpiTables } from "./acpi/index.ts";
import { isBzImage, loadBzImage, parseBzImage } from "./bzimage.ts";
import { zeroPage } from "./boot-params.ts";
import { DEFAULT_CMDLINE_SIZE, encodeCommandLine } from "./command-line.ts";
import type { BootProtocol, InitialCpuState } from "./cpu-state.ts";
import { e820Map, type E820Entry } from "./e820.ts";
import { isElf } from "./elf-format.ts";
import { loadElf, parseElf } from "./elf.ts";
import { BootFileError } from "./errors.ts";
import { codeSegment32, codeSegment64, dataSegment, globalDescriptorTable, taskSegment } from "./gdt.ts";
import type { GuestRam } from "./guest-ram.ts";
import { DEFAULT_INITRD_ADDR_MAX, placeInitrd, type AddressRange } from "./initrd.ts";
import {
  BDA_BASE_MEMORY_KIB,
  BDA_EBDA_SEGMENT,
  BOOT_STACK_TOP,
  COMMAND_LINE_ADDRESS,
  EBDA_ADDRESS,
  GDT_ADDRESS,
  HVM_START_INFO_ADDRESS,
  PAGE_TABLES_ADDRESS,
  ZERO_PAGE_ADDRESS,
} from "./layout.ts";
import { mpTables } from "./mptable.ts";
import { notAKernel } from "./not-a-kernel.ts";
import { identityPageTables } from "./page-tables.ts";
import { pvhStartInfo } from "./pvh.ts";
import { KiB } from "./quantities.ts";
import { readAt, type BootFile } from "./read-at.ts";

export type { BootProtocol, InitialCpuState, InitialSegment } from "./cpu-state.ts";

/** An initrd in a file, or made in memory. */
export type InitrdSource = BootFile | { readonly bytes: Uint8Array };

export interface LoadKernelOptions {
  readonly kernel: BootFile;
  readonly initrd?: InitrdSource | undefined;
  /** Complete, devices included. */
  readonly cmdline: string;
  /** 1 to 255. */
  readonly cpus: number;
  /** Without them the kernel finds its processors in MP tables, which are always there. */
  readonly acpi?: AcpiTables | undefined;
}

export interface LoadedKernel {
  readonly format: "bzImage" | "elf";
  readonly protocol: BootProtocol;
  /** How the first processor starts; the others wait for INIT and SIPI. */
  readonly entry: InitialCpuState;
  /** Such as `6.1.0-13-cloud-amd64 (…) #1 SMP …`: bzImages only, an ELF file does not say without being read through. */
  readonly kernelVersion: string | undefined;
  /** Guest physical addresses the kernel occupies, BSS or room to unpack included. */
  readonly kernel: AddressRange;
  readonly initrd: { readonly gpa: number; readonly size: number } | undefined;
  readonly e820: readonly E820Entry[];
}

/** Covers the setup header of a bzImage and the header of an ELF file. */
const HEAD_SIZE = 4 * KiB;

const CR0_PE = 1;
const CR0_ET = 0x10;
const CR0_PG = 0x8000_0000;
const CR4_PAE = 0x20;
const EFER_LME = 0x100;
const EFER_LMA = 0x400;
/** Bit 1 is always set; interrupts are off. */
const RFLAGS = 0x2;

/** What all kernel formats come down to. */
interface ParsedKernel {
  readonly format: "bzImage" | "elf";
  readonly protocol: BootProtocol;
  readonly rip: number;
  readonly range: AddressRange;
  readonly setupHeader?: Uint8Array;
  readonly cmdlineSize: number;
  readonly initrdAddrMax: number;
  readonly initrdAbove4G: boolean;
  readonly kernelVersion: string | undefined;
  load(ram: GuestRam): void;
}

/**
 * Loads a kernel into fresh guest memory.
 *
 * @throws {KernelFormatError} if the file is not a kernel that can be booted: the message says what it looks like.
 * @throws {KernelTruncatedError} if it is one, but not all of it.
 * @throws {GuestTooSmallError} if kernel or initrd need more memory than the guest has.
 * @throws {CommandLineError} if the kernel cannot take the command line.
 * @throws {BootFileError} if a file cannot be read.
 * @throws {ProcessorCountError} if `cpus` is out of range.
 */
export function loadKernel(ram: GuestRam, options: LoadKernelOptions): LoadedKernel {
  const kernel = parseKernel(options.kernel);
  const cmdline = encodeCommandLine(options.cmdline, kernel.cmdlineSize);
  const tables = mpTables(options.cpus);

  // Kernels lie above 1 MiB: where one fits, there is also room for everything below.
  kernel.load(ram);
  const initrd = loadInitrd(ram, kernel, options.initrd);
  const e820 = e820Map(ram.regions);
  ram.write(COMMAND_LINE_ADDRESS, cmdline);
  writeBiosDataArea(ram);
  for (const { gpa, bytes } of [...tables, ...(options.acpi?.tables ?? [])]) ram.write(gpa, bytes);
  const { format, protocol, kernelVersion, range } = kernel;
  const params = { cmdline: COMMAND_LINE_ADDRESS, initrd, e820, rsdp: options.acpi?.rsdp };
  const entry = protocol === "pvh" ? enterPvh(ram, kernel, params) : enterLinux64(ram, kernel, params);
  return { format, protocol, entry, kernelVersion, kernel: range, initrd, e820 };
}

function parseKernel(file: BootFile): ParsedKernel {
  const head = readAt(file, 0, HEAD_SIZE);
  if (isBzImage(head)) {
    const image = parseBzImage(file, head);
    return {
      ...image,
      format: "bzImage",
      protocol: "linux64",
      rip: image.entry,
      load: (ram) => loadBzImage(ram, file, image),
    };
  }
  if (isElf(head)) {
    const elf = parseElf(file, head);
    return {
      format: "elf",
      protocol: elf.protocol,
      rip: elf.entry,
      range: elf.range,
      cmdlineSize: DEFAULT_CMDLINE_SIZE,
      initrdAddrMax: DEFAULT_INITRD_ADDR_MAX,
      // Linux reads no more than 32 bits of a PVH module's address.
      initrdAbove4G: elf.protocol === "linux64",
      kernelVersion: undefined,
      load: (ram) => loadElf(ram, file, elf),
    };
  }
  throw notAKernel(file);
}

function loadInitrd(
  ram: GuestRam,
  kernel: ParsedKernel,
  source: InitrdSource | undefined,
): LoadedKernel["initrd"] {
  if (source === undefined) return undefined;
  const inMemory = "bytes" in source;
  const size = inMemory ? source.bytes.length : source.size;
  const name = inMemory ? "initrd" : source.path;
  if (size === 0) {
    throw new BootFileError(`${name}: the initrd is empty`, { hint: "leave it out, or make it again" });
  }
  const gpa = placeInitrd(ram.regions, {
    size,
    name,
    addrMax: kernel.initrdAddrMax,
    kernel: kernel.range,
    above4G: kernel.initrdAbove4G,
  });
  if (inMemory) ram.write(gpa, source.bytes);
  else ram.readFile(gpa, source.fd, 0, size);
  return { gpa, size };
}

/** Where a kernel without other knowledge looks for the end of base memory and for the EBDA with the MP tables. */
function writeBiosDataArea(ram: GuestRam): void {
  ram.write(BDA_EBDA_SEGMENT, word(EBDA_ADDRESS / 16));
  ram.write(BDA_BASE_MEMORY_KIB, word(EBDA_ADDRESS / KiB));
}

function word(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

interface BootParameters {
  readonly cmdline: number;
  readonly initrd: LoadedKernel["initrd"];
  readonly e820: readonly E820Entry[];
  readonly rsdp: number | undefined;
}

/** boot.rst, "64-bit Boot Protocol". */
function enterLinux64(ram: GuestRam, kernel: ParsedKernel, params: BootParameters): InitialCpuState {
  const { setupHeader } = kernel;
  ram.write(ZERO_PAGE_ADDRESS, zeroPage({ ...params, ...(setupHeader && { setupHeader }) }));
  ram.write(PAGE_TABLES_ADDRESS, identityPageTables(PAGE_TABLES_ADDRESS));
  return {
    ...commonState(ram, codeSegment64()),
    protocol: "linux64",
    rip: kernel.rip,
    rsi: ZERO_PAGE_ADDRESS,
    cr0: CR0_PG + CR0_ET + CR0_PE,
    cr3: PAGE_TABLES_ADDRESS,
    cr4: CR4_PAE,
    efer: EFER_LME | EFER_LMA,
  };
}

/** Xen docs/misc/pvh.pandoc: 32-bit protected mode without paging, EBX leads to the start info. */
function enterPvh(ram: GuestRam, kernel: ParsedKernel, params: BootParameters): InitialCpuState {
  for (const { gpa, bytes } of pvhStartInfo(params)) ram.write(gpa, bytes);
  return {
    ...commonState(ram, codeSegment32()),
    protocol: "pvh",
    rip: kernel.rip,
    rbx: HVM_START_INFO_ADDRESS,
    cr0: CR0_ET + CR0_PE,
  };
}

function commonState(ram: GuestRam, cs: InitialCpuState["cs"]): InitialCpuState {
  const data = dataSegment();
  const tr = taskSegment();
  const gdt = globalDescriptorTable([cs, data, tr]);
  ram.write(GDT_ADDRESS, gdt);
  return {
    protocol: "linux64",
    rip: 0,
    rsp: BOOT_STACK_TOP,
    rbx: 0,
    rsi: 0,
    rflags: RFLAGS,
    cr0: 0,
    cr3: 0,
    cr4: 0,
    efer: 0,
    gdt: { base: GDT_ADDRESS, limit: gdt.length - 1 },
    idt: { base: 0, limit: 0 },
    cs,
    data,
    tr,
  };
}
