import { describe, expect, it } from "vitest";
import { ET_CORE, ET_DYN, ET_REL, PT_INTERP, PT_NOTE, PT_TLS } from "./elf-format.ts";
import { loadElf, parseElf, type ElfKernel } from "./elf.ts";
import { GuestTooSmallError, KernelFormatError, KernelTruncatedError } from "./errors.ts";
import { CODE, buildElf, note, type ElfOptions } from "./testing/build-elf.ts";
import { FakeRam } from "./testing/fake-ram.ts";
import { thrownBy, withFile } from "./testing/files.ts";

const parse = (bytes: Uint8Array): ElfKernel => withFile(bytes, (file) => parseElf(file, bytes));
const load = (bytes: Uint8Array, ram: FakeRam): void =>
  withFile(bytes, (file) => loadElf(ram, file, parseElf(file, bytes)));

describe("parseElf", () => {
  it("enters a kernel with a PVH note there", () => {
    const kernel = parse(buildElf({ pvhEntry: 0x10_0004, e_entry: 0x10_0000n }));
    expect(kernel).toMatchObject({
      protocol: "pvh",
      entry: 0x10_0004,
      range: { start: 0x10_0000, end: 0x10_0010 },
    });
  });

  it("reads a PVH entry of 4 bytes", () => {
    expect(parse(buildElf({ pvhEntry: 0x10_0004, pvhEntryBytes: 4 })).entry).toBe(0x10_0004);
  });

  it("enters a kernel without a note at e_entry in 64-bit mode", () => {
    expect(parse(buildElf())).toMatchObject({ protocol: "linux64", entry: 0x10_0000 });
  });

  it("translates a virtual e_entry", () => {
    const kernel = parse(
      buildElf({
        e_entry: 0xffff_ffff_8100_0004n,
        segments: [{ p_paddr: 0x100_0000, p_vaddr: 0xffff_ffff_8100_0000n, content: CODE }],
      }),
    );
    expect(kernel.entry).toBe(0x100_0004);
  });

  it("takes a 32-bit ELF file with a PVH note", () => {
    expect(parse(buildElf({ bits: 32, pvhEntry: 0x10_0000, pvhEntryBytes: 4 }))).toMatchObject({
      protocol: "pvh",
      entry: 0x10_0000,
    });
  });

  const segment = { p_paddr: 0x10_0000, content: CODE };
  it.each<[string, ElfOptions, RegExp]>([
    ["a 32-bit file without a PVH note", { bits: 32 }, /32-bit ELF kernel without a PVH entry/],
    ["another machine", { e_machine: 183 }, /ELF file for arm64/],
    ["an unknown machine", { e_machine: 999 }, /ELF file for machine 999/],
    ["big endian", { data: 2 }, /big-endian/],
    ["an object file", { e_type: ET_REL }, /object file or kernel module/],
    ["a core dump", { e_type: ET_CORE }, /core dump/],
    ["an unknown type", { e_type: 77 }, /type 77/],
    ["a shared object", { e_type: ET_DYN }, /program or library/],
    ["a dynamic program", { segments: [segment, { p_type: PT_INTERP }] }, /program or library/],
    ["a static program", { segments: [segment, { p_type: PT_TLS }] }, /program or library/],
    ["no program headers", { e_phnum: 0 }, /0 program headers/],
    ["too many program headers", { e_phnum: 0xffff }, /65535 program headers/],
    ["odd program headers", { e_phentsize: 55 }, /program headers of 55 bytes/],
    ["nothing to load", { segments: [{ p_type: PT_NOTE }] }, /nothing to load/],
    ["filesz > memsz", { segments: [{ ...segment, p_memsz: 15 }] }, /16 bytes in the file but 15 in memory/],
    ["an entry outside", { e_entry: 0x20_0000n }, /entry point 0x200000 lies in no segment/],
    ["a PVH entry outside", { pvhEntry: 0x10_0010 }, /entry point 0x100010 lies in no segment/],
    ["a PVH entry of 2 bytes", { pvhEntry: 0x10_0000, pvhEntryBytes: 2 }, /entry point of 2 bytes/],
    [
      "a segment over the zero page",
      { segments: [{ ...segment, p_paddr: 0x7000 }], e_entry: 0x7000n },
      /segment 0 at 0x7000 .* would overwrite the boot parameters/,
    ],
    [
      "a segment over the MP table",
      { segments: [segment, { ...segment, p_paddr: 0xf_fff8 }] },
      /segment 1 .* would overwrite the reserved BIOS area/,
    ],
    [
      "segments that overlap",
      { segments: [segment, { ...segment, p_paddr: 0xf_fff8 + 16 }] },
      /segments 0 and 1 overlap in memory at 0x100008/,
    ],
    [
      "a note that reaches too far",
      { segments: [segment, { p_type: PT_NOTE, content: note("Xen\0", 18, CODE).subarray(0, 28) }] },
      /note reaches beyond its segment/,
    ],
  ])("refuses %s", (_, options, message) => {
    const error = thrownBy(() => parse(buildElf(options)));
    expect(error).toBeInstanceOf(KernelFormatError);
    expect((error as Error).message).toMatch(message);
  });

  it("skips empty segments and foreign notes", () => {
    const segments = [
      { p_paddr: 0, p_memsz: 0 },
      segment,
      { p_type: PT_NOTE, content: note("Go\0\0", 18, CODE) },
    ];
    expect(parse(buildElf({ segments }))).toMatchObject({ protocol: "linux64", segments: [{ index: 1 }] });
  });

  it.each<[string, ElfOptions]>([
    ["program headers", { e_phoff: 2 ** 53 }],
    ["a segment", { segments: [{ ...segment, p_offset: 2 ** 60 }] }],
    ["a segment's end", { segments: [{ ...segment, p_filesz: 2 ** 40, p_memsz: 2 ** 40 }] }],
    ["notes", { segments: [segment, { p_type: PT_NOTE, p_filesz: 2 ** 60 }] }],
  ])("finds %s beyond the file", (_, options) => {
    expect(thrownBy(() => parse(buildElf(options)))).toBeInstanceOf(KernelTruncatedError);
  });

  it("says how many bytes a cut file misses", () => {
    const bytes = buildElf();
    expect(thrownBy(() => parse(bytes.subarray(0, bytes.length - 3)))).toMatchObject({ missingBytes: 3 });
    expect(thrownBy(() => parse(bytes.subarray(0, 60)))).toMatchObject({ missingBytes: 4 });
    expect(thrownBy(() => parse(bytes.subarray(0, 4)))).toBeInstanceOf(KernelFormatError);
  });
});

describe("loadElf", () => {
  it("writes p_filesz bytes and leaves the rest to zeroed memory", () => {
    const ram = FakeRam.ofMiB(2);
    ram.write(0x10_0010, Uint8Array.of(7));
    load(buildElf({ segments: [{ p_paddr: 0x10_0000, content: CODE, p_memsz: 0x1000 }] }), ram);
    expect(ram.read(0x10_0000, 16)).toEqual(CODE);
    expect(ram.u8(0x10_0010)).toBe(7);
  });

  it("says how much memory a segment needs", () => {
    const segments = [{ p_paddr: 0x10_0000, content: CODE, p_memsz: 8 * 2 ** 20 }];
    const error = thrownBy(() => load(buildElf({ segments }), FakeRam.ofMiB(8)));
    expect(error).toBeInstanceOf(GuestTooSmallError);
    expect(error).toMatchObject({ neededBytes: 9 * 2 ** 20 });
  });

  it.each([0xbfff_fff8, 0xd000_0000, 2 ** 32, 2 ** 52])(
    "refuses a segment at %d in a guest with a hole",
    (p_paddr) => {
      const bytes = buildElf({ segments: [{ p_paddr, content: CODE }], e_entry: BigInt(p_paddr) });
      expect(thrownBy(() => load(bytes, FakeRam.withHole(6)))).toMatchObject({
        name: "GuestTooSmallError",
        neededBytes: undefined,
      });
    },
  );

  it("writes nothing if any segment does not fit", () => {
    const ram = FakeRam.ofMiB(2);
    const segments = [
      { p_paddr: 0x10_0000, content: CODE },
      { p_paddr: 0x40_0000, content: CODE },
    ];
    expect(() => load(buildElf({ segments }), ram)).toThrow(GuestTooSmallError);
    expect(ram.u8(0x10_0000)).toBe(0);
  });
});
