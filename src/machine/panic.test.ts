import { describe, expect, it } from "vitest";
import { PanicWatcher } from "./panic.ts";

function watch(...pieces: string[]): string | undefined {
  const watcher = new PanicWatcher();
  for (const piece of pieces) watcher.push(Buffer.from(piece));
  return watcher.panic;
}

describe("PanicWatcher", () => {
  const LINE = "Kernel panic - not syncing: VFS: Unable to mount root fs";

  it("finds the line with and without time stamp", () => {
    expect(watch(`[    2.697307] ${LINE}\r\n`)).toBe(LINE);
    expect(watch(`${LINE}\n`)).toBe(LINE);
  });

  it("finds it however it is cut", () => {
    expect(
      watch("boot\n[ 1.0] Kernel pa", "nic - not syncing: Out of", " memory", "\r\n[ 1.1] CPU: 0\n"),
    ).toBe("Kernel panic - not syncing: Out of memory");
  });

  it("keeps the first of several", () => {
    expect(watch("Kernel panic - not syncing: one\nKernel panic - not syncing: two\n")).toContain("one");
  });

  it("is not fooled by the words inside a line", () => {
    expect(watch("echo Kernel panic - not syncing: no\n")).toBeUndefined();
  });

  it("does not keep a line without end", () => {
    const endless = Array.from({ length: 100 }, () => "x".repeat(4096));
    expect(watch(...endless, "\n", `${LINE}\n`)).toBe(LINE);
  });
});
