/** ELF headers, both classes (System V ABI, chapters 4 and 5), and names for what they contain. */
import { bytes, struct, u16, u32, u64 } from "../ffi/struct.ts";

export const ELFCLASS32 = 1;
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;

export const ET_REL = 1;
export const ET_EXEC = 2;
export const ET_DYN = 3;
export const ET_CORE = 4;

export const EM_386 = 3;
export const EM_X86_64 = 62;

export const PT_LOAD = 1;
export const PT_INTERP = 3;
export const PT_NOTE = 4;
export const PT_TLS = 7;

/** e_phnum of a file with so many program headers that the number stands elsewhere. */
export const PN_XNUM = 0xffff;

export const Elf64_Ehdr = struct("Elf64_Ehdr", {
  e_ident: bytes(16),
  e_type: u16,
  e_machine: u16,
  e_version: u32,
  e_entry: u64,
  e_phoff: u64,
  e_shoff: u64,
  e_flags: u32,
  e_ehsize: u16,
  e_phentsize: u16,
  e_phnum: u16,
  e_shentsize: u16,
  e_shnum: u16,
  e_shstrndx: u16,
});

export const Elf32_Ehdr = struct("Elf32_Ehdr", {
  e_ident: bytes(16),
  e_type: u16,
  e_machine: u16,
  e_version: u32,
  e_entry: u32,
  e_phoff: u32,
  e_shoff: u32,
  e_flags: u32,
  e_ehsize: u16,
  e_phentsize: u16,
  e_phnum: u16,
  e_shentsize: u16,
  e_shnum: u16,
  e_shstrndx: u16,
});

export const Elf64_Phdr = struct("Elf64_Phdr", {
  p_type: u32,
  p_flags: u32,
  p_offset: u64,
  p_vaddr: u64,
  p_paddr: u64,
  p_filesz: u64,
  p_memsz: u64,
  p_align: u64,
});

export const Elf32_Phdr = struct("Elf32_Phdr", {
  p_type: u32,
  p_offset: u32,
  p_vaddr: u32,
  p_paddr: u32,
  p_filesz: u32,
  p_memsz: u32,
  p_flags: u32,
  p_align: u32,
});

/** Elf64_Nhdr is the same; name and descriptor follow, each padded to the alignment of the segment. */
export const Elf_Nhdr = struct("Elf_Nhdr", { n_namesz: u32, n_descsz: u32, n_type: u32 });

const MACHINES: Readonly<Record<number, string>> = {
  2: "SPARC",
  [EM_386]: "32-bit x86",
  8: "MIPS",
  20: "32-bit PowerPC",
  21: "64-bit PowerPC",
  22: "s390",
  40: "32-bit Arm",
  43: "64-bit SPARC",
  50: "Itanium",
  [EM_X86_64]: "x86-64",
  183: "arm64",
  243: "RISC-V",
  247: "eBPF",
  258: "LoongArch",
};

export function machineName(e_machine: number): string {
  return MACHINES[e_machine] ?? `machine ${e_machine}`;
}

/** The field e_ident names the class and byte order in which the rest is to be read. */
export function isElf(head: Uint8Array): boolean {
  return head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46;
}
