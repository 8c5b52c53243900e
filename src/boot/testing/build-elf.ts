/** Synthetic ELF kernels of both classes. */
import {
  ELFCLASS32,
  ELFCLASS64,
  ELFDATA2LSB,
  EM_386,
  EM_X86_64,
  ET_EXEC,
  Elf32_Ehdr,
  Elf32_Phdr,
  Elf64_Ehdr,
  Elf64_Phdr,
  Elf_Nhdr,
  PT_LOAD,
  PT_NOTE,
} from "../elf-format.ts";

export interface ElfSegmentOptions {
  readonly p_type?: number;
  readonly p_paddr?: number;
  readonly p_vaddr?: bigint;
  readonly content?: Uint8Array;
  readonly p_memsz?: number;
  readonly p_filesz?: number;
  readonly p_offset?: number;
  readonly p_align?: number;
}

export interface ElfOptions {
  readonly bits?: 32 | 64;
  readonly e_type?: number;
  readonly e_machine?: number;
  readonly e_entry?: bigint;
  readonly e_phnum?: number;
  readonly e_phentsize?: number;
  readonly e_phoff?: number;
  readonly data?: number;
  /** Physical entry of a PVH note, in this many bytes (default 8). */
  readonly pvhEntry?: number;
  readonly pvhEntryBytes?: number;
  readonly segments?: readonly ElfSegmentOptions[];
}

/** 16 bytes of code, which nobody runs. */
export const CODE = Uint8Array.from({ length: 16 }, (_, index) => 0x90 + index);

/** A guest of 16 bytes at 1 MiB, entered at its first byte. */
export function buildElf(options: ElfOptions = {}): Uint8Array {
  const { bits = 64, pvhEntry } = options;
  const segments = [...(options.segments ?? [{ p_paddr: 0x10_0000, content: CODE }])];
  if (pvhEntry !== undefined) {
    segments.push({ p_type: PT_NOTE, content: pvhNote(pvhEntry, options.pvhEntryBytes ?? 8), p_align: 4 });
  }
  const [Ehdr, Phdr] = bits === 64 ? [Elf64_Ehdr, Elf64_Phdr] : [Elf32_Ehdr, Elf32_Phdr];
  const e_phoff = Ehdr.size;
  let end = e_phoff + segments.length * Phdr.size;
  const placed = segments.map((segment) => {
    const p_offset = end;
    end += Math.ceil((segment.content?.length ?? 0) / 16) * 16;
    return { ...segment, at: p_offset };
  });
  const file = new Uint8Array(end);
  const e_ident = Uint8Array.of(
    0x7f,
    0x45,
    0x4c,
    0x46,
    bits === 64 ? ELFCLASS64 : ELFCLASS32,
    options.data ?? ELFDATA2LSB,
    1,
  );
  file.set(
    packWide(bits, "Ehdr", {
      e_ident,
      e_type: options.e_type ?? ET_EXEC,
      e_machine: options.e_machine ?? (bits === 64 ? EM_X86_64 : EM_386),
      e_version: 1,
      e_entry: options.e_entry ?? 0x10_0000n,
      e_phoff: BigInt(options.e_phoff ?? e_phoff),
      e_ehsize: Ehdr.size,
      e_phentsize: options.e_phentsize ?? Phdr.size,
      e_phnum: options.e_phnum ?? segments.length,
    }),
  );
  for (const [index, segment] of placed.entries()) {
    const content = segment.content ?? new Uint8Array(0);
    const p_paddr = segment.p_paddr ?? 0;
    file.set(content, segment.at);
    file.set(
      packWide(bits, "Phdr", {
        p_type: segment.p_type ?? PT_LOAD,
        p_flags: 7,
        p_offset: BigInt(segment.p_offset ?? segment.at),
        p_vaddr: segment.p_vaddr ?? BigInt(p_paddr),
        p_paddr: BigInt(p_paddr),
        p_filesz: BigInt(segment.p_filesz ?? content.length),
        p_memsz: BigInt(segment.p_memsz ?? content.length),
        p_align: BigInt(segment.p_align ?? 16),
      }),
      e_phoff + index * Phdr.size,
    );
  }
  return file;
}

/** Packs a header of either class from 64-bit values. */
function packWide(
  bits: 32 | 64,
  which: "Ehdr" | "Phdr",
  values: Record<string, number | bigint | Uint8Array>,
): Uint8Array {
  if (bits === 64) return which === "Ehdr" ? Elf64_Ehdr.pack(values) : Elf64_Phdr.pack(values);
  const narrow = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, typeof value === "bigint" ? Number(value) : value]),
  );
  return which === "Ehdr" ? Elf32_Ehdr.pack(narrow) : Elf32_Phdr.pack(narrow);
}

/** A GNU note to be skipped, then XEN_ELFNOTE_PHYS32_ENTRY. */
export function pvhNote(entry: number, entryBytes: number): Uint8Array {
  const other = note("GNU\0", 3, Uint8Array.of(1, 2, 3, 4, 5));
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, BigInt(entry), true);
  const xen = note("Xen\0", 18, value.subarray(0, entryBytes));
  const notes = new Uint8Array(other.length + xen.length);
  notes.set(other);
  notes.set(xen, other.length);
  return notes;
}

export function note(name: string, n_type: number, desc: Uint8Array): Uint8Array {
  const descAt = Elf_Nhdr.size + Math.ceil(name.length / 4) * 4;
  const bytes = new Uint8Array(descAt + Math.ceil(desc.length / 4) * 4);
  bytes.set(Elf_Nhdr.pack({ n_namesz: name.length, n_descsz: desc.length, n_type }));
  bytes.set(new TextEncoder().encode(name), Elf_Nhdr.size);
  bytes.set(desc, descAt);
  return bytes;
}
