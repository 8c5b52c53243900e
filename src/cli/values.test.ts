import { describe, expect, it } from "vitest";
import { UsageError } from "./errors.ts";
import { parseCount, parseDisk, parseDuration, parseSize } from "./values.ts";

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
