import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { bundleForNode } from "../ffi/testing/bundle.ts";
import { DiskError } from "./errors.ts";
import { openDisk } from "./open.ts";

type Mode = "writable" | "read-only" | "ephemeral";

const hasQemu = ((): boolean => {
  try {
    execFileSync("qemu-io", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

describe("image locks", () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-lock-"));
  const path = join(directory, "image");
  let bundle: { path: string; remove: () => void };
  const children: ChildProcess[] = [];
  const fds: number[] = [];

  beforeAll(async () => {
    writeFileSync(path, "");
    truncateSync(path, 1 << 20);
    bundle = await bundleForNode(new URL("testing/hold-image.ts", import.meta.url));
  });
  afterEach(async () => {
    for (const fd of fds.splice(0)) closeSync(fd);
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    }
  });
  afterAll(() => {
    bundle.remove();
    rmSync(directory, { recursive: true });
  });

  const open = (mode: Mode): void => {
    fds.push(openDisk(path, { readOnly: mode === "read-only", ephemeral: mode === "ephemeral" }).fd);
  };
  /** The first output of a program that stays until it is killed. */
  const start = async (program: string, args: readonly string[]): Promise<string> => {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    children.push(child);
    const [output] = (await once(child.stdout, "data")) as [Buffer];
    return output.toString();
  };
  /** Another process opens the image and holds it. What it says. */
  const elsewhere = async (mode: Mode): Promise<string> =>
    (await start(process.execPath, [bundle.path, path, mode])).trim();

  it.each([
    ["read-only", "read-only", true],
    ["read-only", "writable", false],
    ["read-only", "ephemeral", true],
    ["writable", "read-only", false],
    ["writable", "writable", false],
    ["writable", "ephemeral", false],
    ["ephemeral", "writable", true],
  ] as [Mode, Mode, boolean][])(
    "held %s by another process, opened %s here: %s",
    async (there, here, possible) => {
      expect(await elsewhere(there)).toBe("open");
      if (possible) open(here);
      else {
        expect(() => open(here)).toThrow(DiskError);
        expect(() => open(here)).toThrow(`disk ${path}: in use by another program (another tsvm or QEMU)`);
        expect(() => open(here)).toThrow(
          expect.objectContaining({
            hint: here === "writable" ? expect.stringContaining("copy") : expect.stringContaining("writes"),
          }),
        );
      }
    },
  );

  it("are seen from the other side too, and go with the process, however it ends", async () => {
    open("writable");
    expect(await elsewhere("writable")).toContain("in use by another program");
    expect(await elsewhere("read-only")).toContain("in use by another program");
    closeSync(fds.pop()!);
    expect(await elsewhere("writable")).toBe("open");
    expect(() => open("writable")).toThrow(DiskError);
    const holder = children.at(-1)!;
    const exit = once(holder, "exit");
    holder.kill("SIGKILL");
    await exit;
    open("writable");
  });

  it("hold within one process too", () => {
    open("read-only");
    open("read-only");
    expect(() => open("writable")).toThrow(DiskError);
    for (const fd of fds.splice(0)) closeSync(fd);
    open("writable");
    expect(() => open("writable")).toThrow(DiskError);
    expect(() => open("read-only")).toThrow(DiskError);
  });

  it("leave nothing behind when they are refused", () => {
    open("read-only");
    expect(() => open("writable")).toThrow(DiskError);
    // The attempt has announced that it writes: were that still there, this reader would be refused.
    open("read-only");
  });

  describe.skipIf(!hasQemu)("and QEMU (needs qemu-io)", () => {
    const qemuIo = (...args: string[]): string => {
      try {
        execFileSync("qemu-io", ["-f", "raw", ...args, path], { stdio: ["ignore", "pipe", "pipe"] });
        return "done";
      } catch (error) {
        return String((error as { stderr: Buffer }).stderr) + String((error as { stdout: Buffer }).stdout);
      }
    };

    it("keep QEMU from an image that is written to here", () => {
      expect(qemuIo("-c", "write 0 512")).toBe("done");
      open("writable");
      expect(qemuIo("-c", "write 0 512")).toMatch(/lock/);
      // A raw image that QEMU's tools only read they share with writers, of QEMU too.
      expect(qemuIo("-r", "-c", "read 0 512")).toBe("done");
    });

    it("let QEMU read what is read here, but not write", () => {
      open("read-only");
      expect(qemuIo("-r", "-c", "read 0 512")).toBe("done");
      expect(qemuIo("-c", "write 0 512")).toMatch(/lock/);
    });

    it("let QEMU write what only a copy is used of here", () => {
      open("ephemeral");
      expect(qemuIo("-c", "write 0 512")).toBe("done");
    });

    it("respect QEMU's own", async () => {
      expect(await start("qemu-io", ["-f", "raw", path])).toContain("qemu-io>");
      expect(() => open("writable")).toThrow(/in use by another program/);
      expect(() => open("read-only")).toThrow(/in use by another program/);
    });

    it("read along with a QEMU that reads", async () => {
      expect(await start("qemu-io", ["-r", "-f", "raw", path])).toContain("qemu-io>");
      open("read-only");
      expect(() => open("writable")).toThrow(/in use by another program/);
    });
  });
});
