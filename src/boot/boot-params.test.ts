import { describe, expect, it } from "vitest";
import { setup_header, zeroPage } from "./boot-params.ts";
import { E820_TYPE_RAM } from "./e820.ts";
import { readPacked } from "./fields.ts";

const view = (page: Uint8Array): DataView => new DataView(page.buffer);

describe("zeroPage", () => {
  it("makes up a header for an ELF kernel", () => {
    const page = zeroPage({ cmdline: 0x1_0000, e820: [] });
    expect(page).toHaveLength(4096);
    expect(readPacked(setup_header, page)).toMatchObject({
      boot_flag: 0xaa55,
      header: 0x5372_6448,
      version: 0x020c,
      type_of_loader: 0xff,
      cmd_line_ptr: 0x1_0000,
      ramdisk_image: 0,
      ramdisk_size: 0,
    });
    // The sentinel of a header that was copied with too much around it.
    expect(page[0x1ef]).toBe(0);
  });

  it("keeps the header of a bzImage and nothing before it", () => {
    const setupHeader = new Uint8Array(0x26c - 0x1f1).fill(0xa5);
    const page = zeroPage({ setupHeader, cmdline: 0, e820: [] });
    expect(page[0x1f0]).toBe(0);
    expect(page[0x1f1]).toBe(0xa5);
    expect(page[0x210]).toBe(0xff);
    expect(page[0x26b]).toBe(0xa5);
    expect(page[0x26c]).toBe(0);
  });

  it("splits addresses above 4 GiB", () => {
    const page = zeroPage({ cmdline: 0, initrd: { gpa: 0x2_3456_7000, size: 0x1_0000_0001 }, e820: [] });
    expect(view(page).getUint32(0x218, true)).toBe(0x3456_7000);
    expect(view(page).getUint32(0x21c, true)).toBe(1);
    expect(view(page).getUint32(0x0c0, true)).toBe(2);
    expect(view(page).getUint32(0x0c4, true)).toBe(1);
  });

  it("lists the memory map in packed entries of 20 bytes", () => {
    const ram = { size: 0x1000, type: E820_TYPE_RAM } as const;
    const page = zeroPage({
      cmdline: 0,
      e820: [
        { ...ram, addr: 0 },
        { ...ram, addr: 2 ** 32 },
      ],
    });
    expect(page[0x1e8]).toBe(2);
    expect(view(page).getBigUint64(0x2d0 + 20, true)).toBe(2n ** 32n);
    expect(view(page).getBigUint64(0x2d0 + 28, true)).toBe(0x1000n);
    expect(view(page).getUint32(0x2d0 + 36, true)).toBe(1);
    const tooMany = Array.from({ length: 129 }, () => ({ ...ram, addr: 0 }));
    expect(() => zeroPage({ cmdline: 0, e820: tooMany })).toThrow(RangeError);
  });
});
