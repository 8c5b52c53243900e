import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bundleForNode } from "../ffi/testing/bundle.ts";
import { lockHolder, tryLock } from "./file-lock.ts";

const directory = mkdtempSync(join(tmpdir(), "tsvm-lock-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("locks", () => {
  it("of commands exclude each other, also in one process", () => {
    const path = join(directory, "lock");
    expect(tryLock(path)).toBeUndefined();
    writeFileSync(path, "");
    const first = tryLock(path)!;
    expect(tryLock(path)).toBeUndefined();
    // Nobody can say which process it is, but that there is one.
    expect(lockHolder(path)).toBe(0);
    first.release();
    expect(lockHolder(path)).toBeUndefined();
    const second = tryLock(path)!;
    second.release();
  });

  it("of a file that has been replaced do not count", () => {
    const path = join(directory, "replaced");
    writeFileSync(path, "");
    const first = tryLock(path)!;
    writeFileSync(`${path}.new`, "");
    renameSync(`${path}.new`, path);
    const second = tryLock(path);
    expect(second).toBeDefined();
    first.release();
    second!.release();
  });

  it("of a monitor name their holder, and end with it", async () => {
    const path = join(directory, "monitor.lock");
    writeFileSync(path, "");
    const program = await bundleForNode(new URL("testing/hold-lock.ts", import.meta.url));
    const child = spawn(process.execPath, [program.path, path], { stdio: ["ignore", "pipe", "inherit"] });
    const [said] = (await once(child.stdout, "data")) as [Buffer];
    program.remove();
    expect(said.toString()).toBe("held\n");
    expect(lockHolder(path)).toBe(child.pid);
    expect(tryLock(path)).toBeUndefined();
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(lockHolder(path)).toBeUndefined();
    expect(lockHolder(join(directory, "none"))).toBeUndefined();
  });
});
