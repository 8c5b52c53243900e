import { describe, expect, it } from "vitest";
import { encodeCommandLine, joinCommandLine, kernelParameter, virtioMmioParameter } from "./command-line.ts";
import { CommandLineError } from "./errors.ts";

describe("joinCommandLine", () => {
  it("joins with single blanks and drops what is empty", () => {
    expect(joinCommandLine("console=ttyS0 ", undefined, "", " quiet")).toBe("console=ttyS0 quiet");
    expect(joinCommandLine()).toBe("");
  });

  it("keeps what is for init behind what is for the kernel", () => {
    expect(joinCommandLine("quiet -- single -- x", "a=1", "-- more")).toBe("quiet a=1 -- single -- x more");
    expect(joinCommandLine('a="b -- c" --x y--', "z", "--")).toBe('a="b -- c" --x y-- z');
  });
});

describe("kernelParameter", () => {
  it("quotes values with blanks, as next_arg() of the kernel undoes it", () => {
    expect(kernelParameter("root", "/dev/vda")).toBe("root=/dev/vda");
    expect(kernelParameter("dyndbg", "file a.c +p")).toBe('dyndbg="file a.c +p"');
  });

  it("refuses double quotes, for which there is no escape", () => {
    expect(() => kernelParameter("init", 'a"b')).toThrow(CommandLineError);
  });
});

describe("virtioMmioParameter", () => {
  it("has the form that drivers/virtio/virtio_mmio.c parses", () => {
    expect(virtioMmioParameter({ base: 0xd000_0000, size: 4096, irq: 5 })).toBe(
      "virtio_mmio.device=4K@0xd0000000:5",
    );
    expect(virtioMmioParameter({ base: 0xd000_1000, size: 512, irq: 6 })).toBe(
      "virtio_mmio.device=512@0xd0001000:6",
    );
    expect(virtioMmioParameter({ base: 0, size: 2 ** 21, irq: 6 })).toBe("virtio_mmio.device=2M@0x0:6");
  });
});

describe("encodeCommandLine", () => {
  it("ends in NUL", () => {
    expect(encodeCommandLine("ab")).toEqual(Uint8Array.of(0x61, 0x62, 0));
    expect(encodeCommandLine("")).toEqual(Uint8Array.of(0));
  });

  it("counts bytes, not characters, and not the NUL", () => {
    expect(encodeCommandLine("x".repeat(2047))).toHaveLength(2048);
    expect(() => encodeCommandLine("x".repeat(2048))).toThrow(
      /has 2048 bytes, and this kernel takes at most 2047/,
    );
    expect(() => encodeCommandLine("ä".repeat(1024))).toThrow(CommandLineError);
    expect(() => encodeCommandLine("abc", 2)).toThrow(CommandLineError);
  });

  it("keeps within its place in memory whatever the kernel claims to take", () => {
    expect(() => encodeCommandLine("x".repeat(65536), 0xffff_ffff)).toThrow(/at most 65535/);
  });

  it.each([
    ["a\nb", /a line break character at position 1/],
    ["a\r\nb", /a carriage return character at position 1/],
    ["ab\0", /a NUL character at position 2/],
  ])("refuses %j", (cmdline, message) => {
    expect(() => encodeCommandLine(cmdline)).toThrow(message);
  });
});
