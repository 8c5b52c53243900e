import { describe, expect, it } from "vitest";
import { UsageError } from "./errors.ts";
import { parseCount, parseDisk, parseDuration, parseMemory, parseSize } from "./values.ts";

const MiB = 2 ** 20;

describe("option values", () => {
  it.each([
    ["64", 64 * MiB],
    ["64M", 64 * MiB],
    ["64MiB", 64 * MiB],
    ["64mb", 64 * MiB],
    ["512K", 512 * 1024],
    ["2G", 2048 * MiB],
    ["1.5G", 1536 * MiB],
    ["1T", 2 ** 40],
    ["4096B", 4096],
    ["512 b", 512],
  ])("size %s", (text, bytes) => expect(parseSize("--memory", text)).toBe(bytes));

  it.each(["", "x", "-1M", "1Q", "1 2", "0x10", "1e3", "M"])("no size: %j", (text) => {
    expect(() => parseSize("--memory", text)).toThrow(UsageError);
  });

  it.each([
    ["30", 30_000],
    ["30s", 30_000],
    ["500ms", 500],
    ["1.5m", 90_000],
    ["1h", 3_600_000],
  ])("time %s", (text, ms) => expect(parseDuration("--timeout", text)).toBe(ms));

  it.each(["", "0", "0s", "-1s", "5d", "999h", "s"])("no time: %j", (text) => {
    expect(() => parseDuration("--timeout", text)).toThrow(UsageError);
  });

  it("counts", () => {
    expect(parseCount("--cpus", "4")).toBe(4);
    for (const text of ["", "-1", "1.5", "four", "1e1"])
      expect(() => parseCount("--cpus", text)).toThrow(UsageError);
    expect(parseCount("--cpus", "1", 1)).toBe(1);
    expect(() => parseCount("--cpus", "0", 1)).toThrow('--cpus: "0" is not a whole number of at least 1');
    expect(() => parseCount("--cpus", "9".repeat(20))).toThrow(UsageError);
  });

  it("memory is what a machine can have", () => {
    expect(["1M", "4T", "1028K"].map((text) => parseMemory("--memory", text))).toEqual([
      MiB,
      2 ** 42,
      1028 * 1024,
    ]);
    const wrong: [string, string][] = [
      ["0", "is less than 1 MiB"],
      ["1023K", "is less than 1 MiB"],
      ["1048577B", "is not a multiple of the 4096-byte page"],
      ["999999T", "is more than any host has"],
    ];
    for (const [text, why] of wrong) expect(() => parseMemory("--memory", text)).toThrow(`"${text}" ${why}`);
  });

  it.each([
    ["iops=-1", 'iops: "-1" is not a whole number of at least 1'],
    ["iops-read=0", 'iops-read: "0" is not a whole number of at least 1'],
    ["boot=0", 'boot: "0" is not a whole number of at least 1'],
    ["bps-write=0", 'bps-write: "0" is no limit'],
    ["bps=9999999999999999999", "is no limit"],
    ["serial=", 'serial: "" is not 1 to 20'],
    ["serial=" + "x".repeat(21), "is not 1 to 20"],
    ["boot=1,boot=2", 'boot is there twice in "a.img,boot=1,boot=2"'],
    ["ro,ro", "ro is there twice"],
    ["ro,", '"a.img,ro," has a comma with no property behind it'],
    ["", "has a comma with no property behind it"],
  ])("no disk: %s", (properties, message) => {
    const parse = (): unknown => parseDisk(`a.img,${properties}`);
    expect(parse).toThrow(UsageError);
    expect(parse).toThrow(message);
  });

  it("disks", () => {
    expect(parseDisk("a.img")).toEqual({ path: "a.img" });
    expect(parseDisk("a.img,ro,serial=X=1")).toEqual({ path: "a.img", readOnly: true, serial: "X=1" });
    expect(parseDisk("a.img,ephemeral")).toEqual({ path: "a.img", ephemeral: true });
    expect(parseDisk("a.img,cache=none,boot=2,bps=10M,iops-read=100,bps-read=5000,overlay")).toEqual({
      path: "a.img",
      cache: "none",
      bootOrder: 2,
      overlay: true,
      rateLimits: {
        total: { bytesPerSecond: 10 * MiB },
        read: { operationsPerSecond: 100, bytesPerSecond: 5000 },
      },
    });
    expect(() => parseDisk("a.img,rw")).toThrow('--disk: unknown property "rw"');
    expect(() => parseDisk("a.img,constructor")).toThrow("unknown property");
    expect(() => parseDisk("a.img,ro=1")).toThrow("has no value");
    expect(() => parseDisk("a.img,cache=fast")).toThrow(
      'cache: "fast" is not one of writeback, none, unsafe',
    );
    expect(() => parseDisk("a.img,bps=much")).toThrow('"much" is not a size');
    expect(() => parseDisk(",ro")).toThrow("names no file");
  });
});
