import { describe, expect, it } from "vitest";
import { DescriptionError, validateDescription, type MachineDescription } from "./description.ts";

const MiB = 2 ** 20;
const GOOD: MachineDescription = { cpus: 2, memory: 64 * MiB };

function problem(change: Partial<MachineDescription>): string {
  try {
    validateDescription({ ...GOOD, ...change }, 254);
  } catch (error) {
    expect(error).toBeInstanceOf(DescriptionError);
    return (error as DescriptionError).message;
  }
  return "";
}

describe("validateDescription", () => {
  it("accepts a sound description", () => {
    expect(problem({})).toBe("");
    expect(problem({ command: { argv: ["true"], env: { A: "" }, cwd: "/" } })).toBe("");
  });

  it.each<[Partial<MachineDescription>, string]>([
    [{ cpus: 0 }, "cpus: 0 is not a whole number of at least 1"],
    [{ cpus: 1.5 }, "cpus: 1.5 is not a whole number of at least 1"],
    [{ cpus: Number.NaN }, "cpus: NaN is not a whole number of at least 1"],
    [{ cpus: 1000 }, "cpus: 1000 is more than this host's KVM allows"],
    [{ memory: 4096 }, "memory: 4096 bytes is less than 1 MiB"],
    [{ memory: Number.NaN }, "memory: NaN bytes is less than 1 MiB"],
    [{ memory: 64 * MiB + 1 }, "memory: 67108865 bytes is not a multiple of the 4096-byte page"],
    [{ command: { argv: [] } }, "command: empty"],
    [{ command: { argv: ["a\0b"] } }, "command: contains a NUL character"],
    [{ command: { argv: ["a"], env: { "": "x" } } }, 'command: "" is no variable name'],
    [{ command: { argv: ["a"], env: { "a=b": "x" } } }, 'command: "a=b" is no variable name'],
    [
      { disks: [{ path: "x", serial: "123456789012345678901" }] },
      "disk x: the serial number is more than 20 ASCII",
    ],
    [{ disks: [{ path: "x", serial: "ä" }] }, "disk x: the serial number is more than 20 ASCII"],
    [{ disks: Array.from({ length: 15 }, () => ({ path: "x" })) }, "disks: 15 are more than the 14"],
    [{ memory: 2 ** 52 }, "MiB of this host"],
    [{ disks: [{ path: "x", bootOrder: 0 }] }, "disk x: boot order 0 is not a whole number of at least 1"],
    [
      {
        disks: [
          { path: "x", bootOrder: 1 },
          { path: "y", bootOrder: 1 },
        ],
      },
      "disks: two have the boot order 1",
    ],
    [
      { disks: [{ path: "x", rateLimits: { read: { bytesPerSecond: 0 } } }] },
      "disk x: rate limit read.bytesPerSecond: 0 is not at least 1",
    ],
    [
      { disks: [{ path: "x", rateLimits: { total: { operationsBurst: 5 } } }] },
      "disk x: rate limit total.operationsBurst without total.operationsPerSecond",
    ],
  ])("refuses %j", (change, text) => {
    expect(problem(change)).toContain(text);
  });
});
