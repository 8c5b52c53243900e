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
      "disk x: the serial number is not at most 20 printable ASCII characters",
    ],
    [
      { disks: [{ path: "x", serial: "ä" }] },
      "disk x: the serial number is not at most 20 printable ASCII characters",
    ],
    [{ disks: Array.from({ length: 15 }, () => ({ path: "x" })) }, "disks: 15 are more than the 14"],
    [{ memory: 2 ** 52 }, "MiB of this host"],
    [{ memory: 1e20 }, "memory: 100000000000000000000 bytes are more than any host has"],
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
    [
      { balloon: { size: 65 * MiB } },
      "balloon.size: 68157440 bytes are more than the 67108864 of the machine",
    ],
    [{ balloon: { size: -1 } }, "balloon.size: -1 is not a number of bytes"],
    [{ balloon: { statsInterval: NaN } }, "balloon.statsInterval: NaN is not a number of seconds"],
    [
      { balloon: {}, hugePages: "hugetlb" },
      "balloon: memory of reserved huge pages (hugetlb) cannot be given back and taken again",
    ],
  ])("refuses %j", (change, text) => {
    expect(problem(change)).toContain(text);
  });
});

/** What a program in JavaScript may pass. */
describe("the shape of a description", () => {
  it.each<[unknown, string, string?]>([
    [undefined, "description: undefined is not an object"],
    [{ cpus: 1 }, "memory: is missing"],
    [{ ...GOOD, cpus: "2" }, 'cpus: "2" is not a number'],
    [{ ...GOOD, memory: "128M" }, 'memory: "128M" is not a number'],
    [{ ...GOOD, comand: {} }, "comand: there is no such property", "did you mean command?"],
    [{ ...GOOD, constructor: 1 }, "constructor: there is no such property"],
    [{ ...GOOD, console: "vga" }, 'console: "vga" is not one of serial, virtio'],
    [{ ...GOOD, command: "ls" }, 'command: "ls" is not an object'],
    [{ ...GOOD, command: {} }, "command.argv: is missing"],
    [{ ...GOOD, command: { argv: ["a", 1] } }, "command.argv[1]: 1 is not a string"],
    [{ ...GOOD, command: { argv: ["a"], env: { A: 1 } } }, "command.env.A: 1 is not a string"],
    [{ ...GOOD, balloon: true }, "balloon: true is not an object"],
    [{ ...GOOD, balloon: { siez: 1 } }, "balloon.siez: there is no such property", "did you mean size?"],
    [{ ...GOOD, disks: ["a.img"] }, 'disks[0]: "a.img" is not an object'],
    [{ ...GOOD, disks: [{}] }, "disks[0].path: is missing"],
    [
      { ...GOOD, disks: [{ path: "x", readonly: true }] },
      "disks[0].readonly: there is no such property",
      "did you mean readOnly?",
    ],
    [
      { ...GOOD, disks: [{ path: "x", rateLimits: { total: { iops: 1 } } }] },
      "disks[0].rateLimits.total.iops: there is no such property",
    ],
  ])("%j: %s", (description, message, hint) => {
    let seen: unknown;
    try {
      validateDescription(description as MachineDescription, 254);
    } catch (error) {
      seen = error;
    }
    expect(seen).toBeInstanceOf(DescriptionError);
    expect((seen as DescriptionError).message).toBe(message);
    if (hint !== undefined) expect((seen as DescriptionError).hint).toBe(hint);
  });

  it("lets pass what is left undefined", () => {
    const open = { ...GOOD, name: undefined, disks: [{ path: "x", serial: undefined }], command: undefined };
    expect(() => validateDescription(open as unknown as MachineDescription, 254)).not.toThrow();
  });
});
