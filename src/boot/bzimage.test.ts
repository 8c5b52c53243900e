import { describe, expect, it } from "vitest";
import { isBzImage, loadBzImage, parseBzImage, type BzImage } from "./bzimage.ts";
import { GuestTooSmallError, KernelFormatError, KernelTruncatedError } from "./errors.ts";
import { buildBzImage, type BzImageOptions } from "./testing/build-bzimage.ts";
import { FakeRam } from "./testing/fake-ram.ts";
import { thrownBy, withFile } from "./testing/files.ts";

const parse = (image: Uint8Array): BzImage =>
  withFile(image, (file) => parseBzImage(file, image.subarray(0, 4096)));
const errorOf = (options: BzImageOptions): unknown => thrownBy(() => parse(buildBzImage(options)));

describe("parseBzImage", () => {
  it("reads what a loader needs", () => {
    const image = parse(buildBzImage());
    expect(image).toMatchObject({
      code: { offset: 2560, size: 0x4000 },
      loadAddress: 0x100_0000,
      entry: 0x100_0200,
      range: { start: 0x100_0000, end: 0x180_0000 },
      cmdlineSize: 2047,
      initrdAddrMax: 0x7fff_ffff,
      initrdAbove4G: true,
      kernelVersion: "6.1.0-test (x@y) #1 SMP",
    });
    expect(image.setupHeader).toHaveLength(0x26c - 0x1f1);
  });

  it("takes setup_sects 0 for 4", () => {
    expect(parse(buildBzImage({ header: { setup_sects: 0 } })).code.offset).toBe(2560);
  });

  it("says how many bytes a cut file misses", () => {
    const image = buildBzImage();
    const error = thrownBy(() => parse(image.subarray(0, image.length - 1000)));
    expect(error).toBeInstanceOf(KernelTruncatedError);
    expect(error).toMatchObject({ missingBytes: 1000, code: "ERR_KERNEL_TRUNCATED" });
    expect((error as Error).message).toContain("1000 bytes are missing");
  });

  it("accepts what a signature appends", () => {
    const image = buildBzImage();
    const signed = new Uint8Array(image.length + 1472);
    signed.set(image);
    expect(parse(signed).code.size).toBe(0x4000);
  });

  it("reports a file that ends within the header as truncated", () => {
    expect(thrownBy(() => parse(buildBzImage().subarray(0, 0x220)))).toBeInstanceOf(KernelTruncatedError);
  });

  it.each([
    ["an old protocol", { version: 0x020b }, /2\.11 of the Linux boot protocol/],
    ["32 bits", { xloadflags: 0 }, /32-bit Linux kernel/],
    ["a zImage", { loadflags: 0 }, /zImage/],
    ["no code", { syssize: 0 }, /0 bytes of code/],
    ["an alignment of 0", { kernel_alignment: 0 }, /alignment of 0x0/],
    ["an odd alignment", { kernel_alignment: 0x30_0000 }, /alignment of 0x300000/],
    ["a load address below 1 MiB", { pref_address: 0x1_0000n }, /below 1 MiB/],
    ["a load address beyond everything", { pref_address: 2n ** 63n }, /reach beyond 4 GiB/],
    ["an init_size beyond 4 GiB", { init_size: 0xffff_ffff }, /reach beyond 4 GiB/],
    ["a header that ends too early", { jump: 0x10eb }, /would end at 0x212/],
    ["a header that ends too late", { jump: 0xffeb }, /would end at 0x301/],
  ])("refuses %s", (_, header, message) => {
    const error = errorOf({ header });
    expect(error).toBeInstanceOf(KernelFormatError);
    expect((error as Error).message).toMatch(message);
  });

  it("reserves init_size from where the kernel will run, not from where it is loaded", () => {
    const { range } = parse(buildBzImage({ header: { pref_address: 0x110_0000n } }));
    expect(range).toEqual({ start: 0x110_0000, end: 0x120_0000 + 0x80_0000 });
  });

  it("loads a kernel without preference at its alignment above 1 MiB", () => {
    expect(parse(buildBzImage({ header: { pref_address: 0n } })).loadAddress).toBe(0x20_0000);
    const fixed = { pref_address: 0n, relocatable_kernel: 0, kernel_alignment: 0 };
    expect(parse(buildBzImage({ header: fixed })).loadAddress).toBe(0x10_0000);
  });

  it("does without a version text that is not there", () => {
    expect(parse(buildBzImage({ header: { kernel_version: 0 } })).kernelVersion).toBeUndefined();
    expect(parse(buildBzImage({ header: { kernel_version: 0xffff } })).kernelVersion).toBeUndefined();
    expect(parse(buildBzImage({ version: "\x01\x02" })).kernelVersion).toBeUndefined();
  });
});

describe("loadBzImage", () => {
  it("puts the code, and only the code, at the load address", () => {
    const bytes = buildBzImage();
    const ram = FakeRam.ofMiB(24);
    withFile(bytes, (file) => loadBzImage(ram, file, parseBzImage(file, bytes)));
    expect(ram.read(0x100_0000, 0x4000)).toEqual(bytes.subarray(2560));
    expect(ram.u32(0x100_4000)).toBe(0);
  });

  it("says how much memory the kernel needs", () => {
    const bytes = buildBzImage();
    const error = withFile(bytes, (file) =>
      thrownBy(() => loadBzImage(FakeRam.ofMiB(23), file, parseBzImage(file, bytes))),
    );
    expect(error).toBeInstanceOf(GuestTooSmallError);
    expect(error).toMatchObject({
      neededBytes: 24 * 2 ** 20,
      hint: "give the guest at least 24 MiB (--memory)",
    });
  });

  it("does not advise more memory where that cannot help", () => {
    const bytes = buildBzImage({ header: { pref_address: 0xc000_0000n } });
    const error = withFile(bytes, (file) =>
      thrownBy(() => loadBzImage(FakeRam.withHole(6), file, parseBzImage(file, bytes))),
    );
    expect(error).toMatchObject({ name: "GuestTooSmallError", neededBytes: undefined });
  });
});

describe("isBzImage", () => {
  it("wants the magic and enough bytes", () => {
    const image = buildBzImage();
    expect(isBzImage(image)).toBe(true);
    expect(isBzImage(image.subarray(0, 0x205))).toBe(false);
    expect(isBzImage(buildBzImage({ header: { header: 0 } }))).toBe(false);
    expect(isBzImage(new Uint8Array(0))).toBe(false);
  });
});
