/**
 * Unified kernel images: EFI programs with kernel, initrd and command line as sections. UAPI.5 and systemd-stub(7); the format of
 * the file is that of Microsoft's PE/COFF specification.
 */
import { viewOf } from "../source/block-reader.ts";
import { utf8 } from "../filesystem/decode.ts";
import type { FileNode } from "../filesystem/filesystem.ts";
import { readRange } from "../filesystem/read.ts";

const PE_OFFSET = 0x3c;
const COFF_HEADER_SIZE = 24;
const SECTION_HEADER_SIZE = 40;
/** Images have about ten; the format allows 96. */
const MAX_SECTIONS = 96;
const MAX_TEXT = 64 * 1024;

interface Section {
  readonly offset: number;
  readonly size: number;
}

export interface UnifiedKernelImage {
  readonly kernel: Section;
  /** Processor microcode, which is an initrd as well, comes first. */
  readonly initrds: readonly Section[];
  readonly commandLine: string;
  /** PRETTY_NAME of the .osrel section. */
  readonly title: string | undefined;
  /** Of the kernel. */
  readonly version: string | undefined;
}

/** The parts of the file if it is such an image, else undefined. */
export function readUnifiedKernelImage(file: FileNode): UnifiedKernelImage | undefined {
  const sections = readSections(file);
  const kernel = sections.get(".linux");
  if (kernel === undefined) return undefined;
  const text = (name: string): string => {
    const section = sections.get(name);
    if (section === undefined) return "";
    return utf8(readRange(file, section.offset, Math.min(section.size, MAX_TEXT))).replace(/\0.*$/s, "");
  };
  const osRelease = text(".osrel");
  const [, prettyName] = /^PRETTY_NAME=(.*)$/m.exec(osRelease) ?? [];
  const version = text(".uname").trim();
  return {
    kernel,
    initrds: [".ucode", ".initrd"].flatMap((name) => sections.get(name) ?? []),
    commandLine: text(".cmdline").trim(),
    title: prettyName?.replaceAll(/^["']|["']$/g, ""),
    version: version === "" ? undefined : version,
  };
}

/** By name; of several of one name, the first: the others belong to profiles that are not the default. */
function readSections(file: FileNode): Map<string, Section> {
  const sections = new Map<string, Section>();
  const dos = readRange(file, 0, 64);
  if (dos.length < 64 || dos[0] !== 0x4d || dos[1] !== 0x5a) return sections;
  const pe = viewOf(dos).getUint32(PE_OFFSET, true);
  const coff = readRange(file, pe, COFF_HEADER_SIZE);
  if (coff.length < COFF_HEADER_SIZE || utf8(coff.subarray(0, 4)) !== "PE\0\0") return sections;
  const count = Math.min(viewOf(coff).getUint16(6, true), MAX_SECTIONS);
  const table = readRange(
    file,
    pe + COFF_HEADER_SIZE + viewOf(coff).getUint16(20, true),
    count * SECTION_HEADER_SIZE,
  );
  for (let at = 0; at + SECTION_HEADER_SIZE <= table.length; at += SECTION_HEADER_SIZE) {
    const name = utf8(table.subarray(at, at + 8)).replace(/\0.*$/s, "");
    const header = viewOf(table.subarray(at, at + SECTION_HEADER_SIZE));
    const offset = header.getUint32(20, true);
    // VirtualSize is the true size; SizeOfRawData is rounded up.
    const size = Math.min(header.getUint32(8, true), header.getUint32(16, true));
    if (size > 0 && offset + size <= file.size && !sections.has(name)) sections.set(name, { offset, size });
  }
  return sections;
}
