import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { ProgressReader, watchAllocation } from "./progress.ts";

describe("the progress that qemu-img prints", () => {
  it("is a fraction, the last one of what has come", () => {
    const reader = new ProgressReader();
    expect(reader.read("    (0.00/100%)\r")).toBe(0);
    expect(reader.read("    (12.50/100%)\r    (25.00/100%)\r")).toBe(0.25);
    expect(reader.read("    (100.00/100%)\r\n")).toBe(1);
  });

  it("may come in pieces", () => {
    const reader = new ProgressReader();
    const text = "    (12.50/100%)\r    (87.50/100%)\r";
    const seen = [...text].map((character) => reader.read(character)).filter((one) => one !== undefined);
    expect(seen).toEqual([0.125, 0.875]);
  });

  it("is nothing in other text, however long", () => {
    const reader = new ProgressReader();
    expect(reader.read("(100%) of (1/100)".repeat(10_000))).toBeUndefined();
    expect(reader.read("(9999.00/100%)")).toBeUndefined();
    expect(reader.read("(101.00/100%)")).toBe(1);
  });
});

it("what has been allocated to a file is progress as well, until it is stopped", async () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-progress-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "file");
  writeFileSync(path, "");
  const seen: number[] = [];
  const MiB = 2 ** 20;
  let stop = (): void => undefined;
  await new Promise<void>((resolve) => {
    void watchAllocation(path, 4 * MiB, (fraction) => {
      seen.push(fraction);
      if (fraction > 0) resolve();
    }).then((stopIt) => {
      stop = stopIt;
      writeFileSync(path, Buffer.alloc(2 * MiB, 1), { flush: true });
    });
  });
  stop();
  expect(seen.at(-1)).toBeGreaterThan(0);
  expect(Math.max(...seen)).toBeLessThanOrEqual(1);
});
