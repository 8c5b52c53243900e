import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, it, vi } from "vitest";
import { check, suite, tool } from "../../../test/support/needs.ts";
import { ImageReader } from "../source/block-reader.ts";
import { blank, memorySource, run, workspace } from "../filesystem/testing/images.ts";
import { FilesystemError } from "../filesystem/errors.ts";
import { readPartitions } from "./read-partitions.ts";

// Other programs make the images.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const SFDISK = tool("sfdisk", "fdisk");
const MIB = 2 ** 20;

interface SfdiskPartition {
  readonly node: string;
  readonly start: number;
  readonly size: number;
  readonly type: string;
  readonly uuid?: string;
  readonly name?: string;
  readonly bootable?: boolean;
  readonly attrs?: string;
}

suite("partition tables by sfdisk", [SFDISK], () => {
  const work = workspace();
  afterAll(work.remove);
  const make = (name: string, script: string): string => {
    const path = blank(work.path(name), 64);
    run("sfdisk", ["-q", path], script);
    return path;
  };
  /** What sfdisk says of it, in our words. */
  const bySfdisk = (path: string): unknown => {
    const { partitiontable } = JSON.parse(run("sfdisk", ["--json", path])) as {
      partitiontable: { label: string; id: string; partitions?: SfdiskPartition[] };
    };
    return (partitiontable.partitions ?? []).map(
      ({ node, start, size, type, uuid, name, bootable, attrs }) => {
        const number = Number(/(\d+)$/.exec(node)![1]);
        const isGpt = partitiontable.label === "gpt";
        const dosUuid = `${partitiontable.id.slice(2)}-${number.toString(16).padStart(2, "0")}`;
        return {
          number,
          start: start * 512,
          size: size * 512,
          type: isGpt ? type.toLowerCase() : type.padStart(2, "0"),
          uuid: isGpt ? uuid!.toLowerCase() : dosUuid,
          label: name,
          bootable: bootable ?? attrs?.includes("LegacyBIOSBootable") ?? false,
          typeName: undefined,
        };
      },
    );
  };
  const read = (path: string): ReturnType<typeof readPartitions> => readPartitions(work.reader(path));

  const GPT = `label: gpt
    size=1MiB, type=21686148-6449-6E6F-744E-656564454649
    size=8MiB, type=uefi, name="EFI system partition"
    size=4MiB, type=linux, name="ünïcode", attrs=LegacyBIOSBootable
    start=30MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709`;

  it.each([
    ["GPT", GPT],
    ["GPT with gaps in the numbers", "label: gpt\n3 : size=4MiB\n128 : size=4MiB"],
    ["GPT with many entries", "label: gpt\ntable-length: 256\n200 : size=4MiB"],
    ["an empty GPT", "label: gpt"],
    ["MBR", "label: dos\nsize=8MiB,type=83,bootable\nsize=8MiB,type=82\nsize=8MiB,type=ef\n"],
    [
      "MBR with logical partitions",
      "label: dos\nsize=8MiB,type=83\nsize=8MiB,type=8e\nsize=40MiB,type=5\nsize=2MiB,type=c\n" +
        "size=4MiB\nsize=8MiB,type=83\nsize=1MiB,type=82\nsize=3MiB\n",
    ],
    ["MBR with an LBA extended partition", "label: dos\nsize=40MiB,type=f\n5 : size=4MiB\n6 : size=4MiB\n"],
    ["MBR with an empty extended partition", "label: dos\nsize=8MiB\nsize=40MiB,type=5\n"],
  ])("%s", (name, script) => {
    const path = make(name, script);
    const { scheme, partitions, warnings } = read(path);
    expect(scheme).toBe(script.includes("gpt") ? "gpt" : "mbr");
    expect(warnings).toEqual([]);
    expect(partitions.map((partition) => ({ ...partition, typeName: undefined }))).toEqual(bySfdisk(path));
  });

  check("GPT with sectors of 4096 bytes", [tool("fdisk", "fdisk")], () => {
    const path = blank(work.path("4096"), 64);
    run("fdisk", ["-b", "4096", path], "g\nn\n\n\n+8M\nn\n\n\n+16M\nw\n");
    const lines = run("fdisk", ["-b", "4096", "-l", "-o", "Start,Sectors", path]).split("\n");
    const sectors = lines.flatMap((line) => /^ *(\d+) +(\d+)$/.exec(line)?.slice(1).map(Number) ?? []);
    const { scheme, partitions, warnings } = read(path);
    expect({ scheme, warnings }).toEqual({ scheme: "gpt", warnings: [] });
    expect(partitions.flatMap(({ start, size }) => [start, size])).toEqual(
      sectors.map((count) => count * 4096),
    );
    expect(partitions.map(({ size }) => size)).toEqual([8 * MIB, 16 * MIB]);
  });

  it("names types", () => {
    expect(read(make("types", GPT)).partitions.map(({ typeName }) => typeName)).toEqual([
      "BIOS boot",
      "EFI system",
      "Linux",
      "Linux root (x86-64)",
    ]);
  });

  describe("a damaged GPT", () => {
    const damage = (...offsets: number[]): (() => ReturnType<typeof readPartitions>) => {
      const bytes = readFileSync(make("damage", GPT));
      for (const offset of offsets) bytes[offset < 0 ? bytes.length + offset : offset]! ^= 0xff;
      return () => readPartitions(new ImageReader("image", memorySource(bytes)));
    };

    it.each([
      ["its signature", 512, "is missing"],
      ["its header", 512 + 24, "has a wrong header checksum"],
      ["its entries", 1024 + 40, "has a wrong checksum"],
    ])("is read from its copy: %s", (_, offset, problem) => {
      const table = damage(offset)();
      expect(table.partitions).toHaveLength(4);
      expect(table.warnings).toEqual([`GPT: the table at the beginning ${problem}`]);
    });

    it("does not need its copy", () => {
      expect(damage(-512)()).toMatchObject({ scheme: "gpt", warnings: [] });
    });

    it("is an error where both are gone", () => {
      expect(damage(512 + 24, -512 + 24)).toThrow(FilesystemError);
      expect(damage(512 + 24, -512 + 24)).toThrow(/the table at the beginning .*; GPT: its copy at the end/);
    });

    it("is none where its signatures are gone", () => {
      const table = damage(512, -512)();
      expect(table).toMatchObject({
        partitions: [],
        warnings: ["the MBR announces a GPT that is not there"],
      });
    });
  });

  it("an old GPT behind a new MBR does not count", () => {
    const path = make("old-gpt", GPT);
    const gpt = readFileSync(path);
    const mbr = readFileSync(make("new-mbr", "label: dos\nsize=8MiB\n"));
    gpt.set(mbr.subarray(0, 512));
    writeFileSync(path, gpt);
    expect(read(path)).toMatchObject({ scheme: "mbr", partitions: [{ number: 1, size: 8 * MIB }] });
  });

  it("a chain of logical partitions that goes in a circle ends", () => {
    const path = make("circle", "label: dos\nsize=60MiB,type=5\n5 : size=4MiB\n6 : size=4MiB\n");
    const bytes = readFileSync(path);
    const second = read(path).partitions.find(({ number }) => number === 6)!;
    // The table of the second logical partition lies 1 MiB before it; its link goes back to the first.
    const table = second.start - MIB;
    bytes.set([0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], table + 0x1be + 16);
    const { partitions, warnings } = readPartitions(new ImageReader("image", memorySource(bytes)));
    expect(partitions.map(({ number }) => number)).toEqual([1, 5, 6]);
    expect(warnings).toEqual(["MBR: the chain of logical partitions does not end"]);
  });

  it("no table at all", () => {
    expect(read(blank(work.path("none"), 1))).toEqual({ scheme: "none", partitions: [], warnings: [] });
  });
});
