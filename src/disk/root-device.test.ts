import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { DiskError } from "./errors.ts";
import { rootDevice } from "./root-device.ts";

const directory = mkdtempSync(join(tmpdir(), "tsvm-root-"));
const path = join(directory, "disk");
afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** A disk with a partition of each of these types; 0 for an empty entry. */
const mbr = (types: readonly number[]): void => {
  const disk = Buffer.alloc(1 << 20);
  for (const [index, type] of types.entries()) {
    const entry = 446 + 16 * index;
    if (type === 0) continue;
    disk.writeUInt8(type, entry + 4);
    disk.writeUInt32LE(64 * (index + 1), entry + 8);
    disk.writeUInt32LE(64, entry + 12);
  }
  disk.writeUInt16LE(0xaa55, 510);
  writeFileSync(path, disk);
};

describe("rootDevice", () => {
  it("is the disk itself where there are no partitions", async () => {
    writeFileSync(path, Buffer.alloc(1 << 20));
    await expect(rootDevice(path)).resolves.toBe("/dev/vda");
  });

  it("is the only Linux partition", async () => {
    mbr([0x83]);
    await expect(rootDevice(path)).resolves.toBe("/dev/vda1");
    mbr([0x0c, 0x82, 0x83]);
    await expect(rootDevice(path)).resolves.toBe("/dev/vda3");
  });

  it("is not guessed", async () => {
    mbr([0x83, 0x83]);
    await expect(rootDevice(path)).rejects.toThrow(DiskError);
    await expect(rootDevice(path)).rejects.toThrow(
      `disk ${path}: is an MBR disk with 2 Linux partitions: which one is the root?`,
    );
    mbr([0x0c]);
    await expect(rootDevice(path)).rejects.toThrow("0 Linux partitions");
    await expect(rootDevice(path)).rejects.toThrow(
      expect.objectContaining({ hint: expect.stringContaining("--root") as string }),
    );
  });
});
