/** Whatever a file holds: loadKernel succeeds or throws a TsvmError, ends, and stays within guest memory (FakeRam sees to it). */
import { mkdtempSync, openSync, closeSync, rmSync, ftruncateSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TsvmError } from "../errors.ts";
import { identifyFile } from "./file-kind.ts";
import { loadKernel } from "./load-kernel.ts";
import { buildBzImage } from "./testing/build-bzimage.ts";
import { CODE, buildElf, note } from "./testing/build-elf.ts";
import { FakeRam } from "./testing/fake-ram.ts";

let directory: string;
let fd: number;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tsvm-boot-"));
  fd = openSync(join(directory, "kernel"), "w+");
});
afterAll(() => {
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

function loadsOrThrowsTsvmError(content: Uint8Array, size = content.length): void {
  ftruncateSync(fd, 0);
  writeSync(fd, content, 0, content.length, 0);
  expect(identifyFile(content, content.length).description).not.toBe("");
  for (const ram of [FakeRam.ofMiB(32), FakeRam.withHole(5)]) {
    try {
      const { entry, kernel, initrd } = loadKernel(ram, {
        kernel: { fd, path: "kernel", size },
        initrd: { bytes: CODE },
        cmdline: "quiet",
        cpus: 2,
      });
      expect(ram.contains(entry.rip, 1)).toBe(true);
      expect(entry.rip).toBeGreaterThanOrEqual(kernel.start);
      expect(entry.rip).toBeLessThan(kernel.end);
      expect(initrd!.gpa + initrd!.size <= kernel.start || initrd!.gpa >= kernel.end).toBe(true);
    } catch (error) {
      if (!(error instanceof TsvmError)) throw error;
      expect(error.message).not.toMatch(/NaN|undefined|Infinity/);
    }
  }
}

const kernels: [string, Uint8Array][] = [
  ["a bzImage", buildBzImage({ codeSize: 0x400 })],
  ["a 64-bit ELF", buildElf()],
  [
    "a PVH ELF",
    buildElf({
      pvhEntry: 0x10_0000,
      segments: [
        { p_paddr: 0x10_0000, content: CODE },
        { p_paddr: 0x20_0000, content: CODE, p_memsz: 0x1000 },
        { p_type: 4, content: note("Go\0\0", 4, CODE) },
      ],
    }),
  ],
  ["a 32-bit PVH ELF", buildElf({ bits: 32, pvhEntry: 0x10_0000, pvhEntryBytes: 4 })],
];

/** Values that break arithmetic, little-endian, 1 to 8 bytes. */
const nasty = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 8 }),
  fc.constantFrom(1, 2, 4, 8).map((length) => new Uint8Array(length).fill(0xff)),
  fc.constantFrom(1, 2, 4, 8).map((length) => new Uint8Array(length)),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    return bytes;
  }),
);

describe.each(kernels)("%s", (_, kernel) => {
  const headers = Math.min(kernel.length, 0x290);

  it("loads unharmed", () => {
    expect(() => loadsOrThrowsTsvmError(kernel)).not.toThrow();
  });

  it("survives truncation at every length", () => {
    for (let length = 0; length <= headers; length++) loadsOrThrowsTsvmError(kernel.subarray(0, length));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: kernel.length }), (length) =>
        loadsOrThrowsTsvmError(kernel.subarray(0, length)),
      ),
      { numRuns: 50 },
    );
  });

  it("survives overwritten header fields", () => {
    const damage = fc.array(fc.tuple(fc.nat(headers - 1), nasty), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(damage, (patches) => {
        const damaged = kernel.slice();
        for (const [at, bytes] of patches) damaged.set(bytes.subarray(0, damaged.length - at), at);
        loadsOrThrowsTsvmError(damaged);
      }),
      { numRuns: 500 },
    );
  });

  it("survives every single flipped bit of its headers", () => {
    const start = kernel[0] === 0x7f ? 0 : 0x1f1;
    for (let bit = start * 8; bit < Math.min(headers, start + 0x80) * 8; bit++) {
      const damaged = kernel.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      loadsOrThrowsTsvmError(damaged);
    }
  });
});

it("survives arbitrary bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 2048 }), (bytes) => loadsOrThrowsTsvmError(bytes)));
});
