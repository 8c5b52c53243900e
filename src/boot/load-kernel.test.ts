import { describe, expect, it } from "vitest";
import { loadKernel, type LoadKernelOptions, type LoadedKernel } from "./load-kernel.ts";
import { buildBzImage } from "./testing/build-bzimage.ts";
import { CODE, buildElf } from "./testing/build-elf.ts";
import { FakeRam } from "./testing/fake-ram.ts";
import { thrownBy, withFile } from "./testing/files.ts";

type Options = Omit<LoadKernelOptions, "kernel">;

const load = (ram: FakeRam, content: Uint8Array | string, options: Partial<Options> = {}): LoadedKernel =>
  withFile(content, (kernel) => loadKernel(ram, { kernel, cmdline: "console=ttyS0", cpus: 1, ...options }));

describe("loadKernel", () => {
  it("starts a bzImage by the 64-bit boot protocol", () => {
    const ram = FakeRam.ofMiB(64);
    const loaded = load(ram, buildBzImage(), { initrd: { bytes: Uint8Array.of(1, 2, 3) }, cpus: 2 });
    expect(loaded).toMatchObject({
      format: "bzImage",
      protocol: "linux64",
      kernelVersion: "6.1.0-test (x@y) #1 SMP",
      initrd: { gpa: 64 * 2 ** 20 - 4096, size: 3 },
      entry: {
        protocol: "linux64",
        rip: 0x100_0200,
        rsi: 0x7000,
        rflags: 2,
        cr0: 0x8000_0011,
        cr3: 0x9000,
        cr4: 0x20,
        efer: 0x500,
        gdt: { base: 0x500, limit: 0x2f },
        cs: { selector: 0x10, l: 1, db: 0 },
        data: { selector: 0x18 },
      },
    });
    const zeroPage = 0x7000;
    expect(ram.u32(zeroPage + 0x202)).toBe(0x5372_6448);
    expect(ram.cString(ram.u32(zeroPage + 0x228))).toBe("console=ttyS0");
    expect(ram.u32(zeroPage + 0x218)).toBe(64 * 2 ** 20 - 4096);
    expect(ram.u32(zeroPage + 0x21c)).toBe(3);
    expect(ram.read(64 * 2 ** 20 - 4096, 3)).toEqual(Uint8Array.of(1, 2, 3));
    expect(ram.u8(zeroPage + 0x1e8)).toBe(3);
    expect(ram.read(0x9_fc00, 4)).toEqual(new TextEncoder().encode("_MP_"));
    expect([ram.u16(0x40e), ram.u16(0x413)]).toEqual([0x9fc0, 639]);
  });

  it("starts an ELF kernel without PVH note the same way", () => {
    const ram = FakeRam.ofMiB(2);
    const loaded = load(ram, buildElf());
    expect(loaded).toMatchObject({ format: "elf", protocol: "linux64", kernelVersion: undefined });
    expect(loaded.entry).toMatchObject({ rip: 0x10_0000, rsi: 0x7000, cr3: 0x9000 });
    expect(ram.read(0x10_0000, 16)).toEqual(CODE);
  });

  it("starts a kernel with PVH note in 32-bit mode", () => {
    const ram = FakeRam.ofMiB(2);
    const { entry } = load(ram, buildElf({ pvhEntry: 0x10_0004 }));
    expect(entry).toMatchObject({
      protocol: "pvh",
      rip: 0x10_0004,
      rbx: 0x1000,
      rsi: 0,
      cr0: 0x11,
      cr3: 0,
      cr4: 0,
      efer: 0,
      cs: { base: 0, limit: 0xffff_ffff, db: 1, l: 0 },
      tr: { base: 0, limit: 0x67, type: 0xb },
    });
    expect(ram.u32(entry.rbx)).toBe(0x336e_c578);
    expect(ram.cString(Number(ram.u64(entry.rbx + 24)))).toBe("console=ttyS0");
  });

  it("keeps the initrd of a PVH kernel below 4 GiB", () => {
    const ram = FakeRam.withHole(8);
    const { initrd } = load(ram, buildElf({ pvhEntry: 0x10_0000 }), { initrd: { bytes: CODE } });
    expect(initrd!.gpa).toBe(2 ** 31 - 4096);
  });

  it("reads an initrd from its file", () => {
    const ram = FakeRam.ofMiB(4);
    const loaded = withFile("initrd!", (initrd) => load(ram, buildElf(), { initrd }));
    expect(ram.cString(loaded.initrd!.gpa)).toBe("initrd!");
  });

  it.each<[string, Uint8Array | string, RegExp]>([
    ["an empty file", "", /it looks like an empty file$/],
    ["text", "hello\n", /it looks like a text file$/],
    ["a gzip file", Uint8Array.of(0x1f, 0x8b, 8, 0), /it looks like a gzip file$/],
    ["a short MZ file", buildBzImage().subarray(0, 0x200), /is not a kernel that can be booted/],
  ])("says what %s is instead of a kernel", (_, content, message) => {
    const error = thrownBy(() => load(FakeRam.ofMiB(64), content));
    expect(error).toMatchObject({ code: "ERR_KERNEL_FORMAT" });
    expect((error as Error).message).toMatch(message);
    expect((error as { hint?: string }).hint).toBeTruthy();
  });

  it.each<[string, Partial<Options>, string]>([
    ["no processor", { cpus: 0 }, "ERR_PROCESSOR_COUNT"],
    ["1000 processors", { cpus: 1000 }, "ERR_PROCESSOR_COUNT"],
    ["two lines", { cmdline: "a\nb" }, "ERR_COMMAND_LINE"],
    ["too long a line", { cmdline: "x".repeat(2048) }, "ERR_COMMAND_LINE"],
    ["an empty initrd", { initrd: { bytes: new Uint8Array(0) } }, "ERR_BOOT_FILE"],
    ["too large an initrd", { initrd: { bytes: new Uint8Array(2 ** 21) } }, "ERR_GUEST_TOO_SMALL"],
  ])("refuses %s", (_, options, code) => {
    expect(thrownBy(() => load(FakeRam.ofMiB(2), buildElf(), options))).toMatchObject({ code });
  });

  it("heeds the command line length of the kernel", () => {
    const kernel = buildBzImage({ header: { cmdline_size: 255 } });
    expect(thrownBy(() => load(FakeRam.ofMiB(64), kernel, { cmdline: "x".repeat(256) }))).toMatchObject({
      code: "ERR_COMMAND_LINE",
    });
    load(FakeRam.ofMiB(64), kernel, { cmdline: "x".repeat(255) });
  });

  it.each([0, 4096, 0xa_0000, 2 ** 20])("refuses a guest of %d bytes", (size) => {
    const ram = new FakeRam({ gpa: 0, size });
    expect(thrownBy(() => load(ram, buildElf()))).toMatchObject({ code: "ERR_GUEST_TOO_SMALL" });
  });
});
