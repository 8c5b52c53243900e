/** A directory for a test file's files, removed after its tests. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

export interface Scratch {
  readonly directory: string;
  /** A path in the directory; with `content`, of a file that is written there. */
  path(name: string, content?: string | Uint8Array): string;
}

export function scratch(): Scratch {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-test-"));
  chmodSync(directory, 0o755); // some tests become nobody
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return {
    directory,
    path(name, content) {
      const path = join(directory, name);
      if (content !== undefined) writeFileSync(path, content);
      return path;
    },
  };
}
