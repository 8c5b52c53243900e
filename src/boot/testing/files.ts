/** Files for tests. */
import { closeSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openBootFile, type BootFile } from "../read-at.ts";

/** Runs `use` with a file of this content, which is gone afterwards. */
export function withFile<T>(content: Uint8Array | string, use: (file: BootFile) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-boot-"));
  try {
    const path = join(directory, "file");
    writeFileSync(path, content);
    const file = openBootFile(path);
    try {
      return use(file);
    } finally {
      closeSync(file.fd);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What `run` throws. */
export function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}
