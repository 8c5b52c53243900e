import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { BootFileError } from "./errors.ts";
import { openBootFile, readAt } from "./read-at.ts";
import { thrownBy, withFile } from "./testing/files.ts";

it("reads up to the end and no further", () => {
  withFile("0123456789", (file) => {
    expect(file.size).toBe(10);
    expect(new TextDecoder().decode(readAt(file, 4, 3))).toBe("456");
    expect(new TextDecoder().decode(readAt(file, 8, 100))).toBe("89");
    expect(readAt(file, 100, 5)).toHaveLength(0);
  });
});

it("says what is wrong with a path", () => {
  const error = thrownBy(() => openBootFile("/nonexistent/vmlinuz"));
  expect(error).toBeInstanceOf(BootFileError);
  expect(error).toMatchObject({ code: "ERR_BOOT_FILE", message: "/nonexistent/vmlinuz: no such file" });
  expect(thrownBy(() => openBootFile(tmpdir()))).toMatchObject({ message: `${tmpdir()}: is a directory` });
});

it("does not wait for the writer of a FIFO", () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-boot-"));
  try {
    const fifo = join(directory, "fifo");
    execFileSync("mkfifo", [fifo]);
    expect(thrownBy(() => openBootFile(fifo))).toMatchObject({ message: `${fifo}: is not a regular file` });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
