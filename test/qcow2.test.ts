/** qcow2 disks in a machine, judged by qemu-img. What the format can be: src/disk/qcow2. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { findTool, KVM, suite, tool } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { collect, startTsvm, tsvm, until } from "./support/tsvm.ts";

const files = scratch();
/** Writes 2 MiB that the host knows, from the 3rd MiB on. */
const WRITE =
  "yes tsvm | head -c 2097152 >/tmp/data; dd if=/tmp/data of=/dev/vdb bs=64k seek=48 conv=fsync 2>/dev/null";
const WRITTEN = Buffer.alloc(2 * 2 ** 20, "tsvm\n");

suite("a qcow2 disk", [KVM, tool("qemu-img", "qemu-utils")], () => {
  const qemuImg = (...args: string[]): string =>
    execFileSync(findTool("qemu-img")!, args, { encoding: "utf8" });
  const digest = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");
  const create = (name: string, ...options: string[]): string => {
    const path = files.path(name);
    qemuImg("create", "-q", "-f", "qcow2", ...options, path, ...(options.includes("-b") ? [] : ["64M"]));
    return path;
  };
  /** Exit status 0 of qemu-img check: neither corruption nor leaks. */
  const check = (path: string): void => {
    const { status, stdout, stderr } = spawnSync(findTool("qemu-img")!, ["check", path], {
      encoding: "utf8",
    });
    expect(status, stdout + stderr).toBe(0);
  };
  const contentAt3MiB = (path: string): Buffer => {
    const raw = files.path("converted.raw");
    qemuImg("convert", "-O", "raw", path, raw);
    return readFileSync(raw).subarray(3 * 2 ** 20, 5 * 2 ** 20);
  };
  const boot = (...args: string[]): ReturnType<typeof tsvm> => tsvm(["boot", "-m", "64M", ...args]);

  test("takes what a guest writes", async () => {
    const path = create("written.qcow2");
    expect(await boot("-d", path, "--", "sh", "-c", WRITE)).toMatchObject({ status: 0, stderr: "" });
    check(path);
    expect(contentAt3MiB(path).equals(WRITTEN)).toBe(true);
  });

  test("over a base gives what is in it, and leaves it as it was", async () => {
    const base = create("base.qcow2");
    execFileSync(findTool("qemu-io")!, ["-f", "qcow2", "-c", "write -P 0x61 3M 1M", base], {
      stdio: "ignore",
    });
    const before = digest(base);
    const top = create("top.qcow2", "-b", base, "-F", "qcow2");
    const script = `dd if=/dev/vdb bs=64k skip=48 count=1 2>/dev/null | head -c 3; ${WRITE}`;
    expect(await boot("-d", top, "--", "sh", "-c", script)).toMatchObject({ status: 0, stdout: "aaa" });
    check(top);
    expect(contentAt3MiB(top).equals(WRITTEN)).toBe(true);
    expect(digest(base)).toBe(before);
  });

  test.each([",overlay", ",ephemeral"])("with %s is as it was afterwards", async (property) => {
    const path = create(`kept${property}.qcow2`.replace(",", "-"));
    const before = digest(path);
    const script = `${WRITE}; dd if=/dev/vdb bs=64k skip=48 count=1 2>/dev/null | head -c 4`;
    expect(await boot("-d", path + property, "--", "sh", "-c", script)).toMatchObject({
      status: 0,
      stdout: "tsvm",
    });
    expect(digest(path)).toBe(before);
  });

  test("survives kill -9 while the guest writes", async () => {
    const path = create("killed.qcow2");
    const step = "dd if=/dev/vda of=/dev/vdb bs=64k count=2 seek=$i 2>/dev/null; i=$(((i + 7) % 1000)); echo";
    const script = `i=0; while :; do ${step}; done`;
    const running = startTsvm(["boot", "-m", "64M", "-d", path, "--", "sh", "-c", script]);
    const stdout = collect(running.stdout);
    await until("some writes", () => stdout.text.length > 5);
    running.kill("SIGKILL");
    await running;
    const result = spawnSync(findTool("qemu-img")!, ["check", path], { encoding: "utf8" });
    // 3: leaked clusters, which cost space and nothing else.
    expect([0, 3], result.stdout).toContain(result.status);
  });

  test("whose base is missing is refused", async () => {
    const base = create("gone.qcow2");
    const top = create("orphan.qcow2", "-b", base, "-F", "qcow2");
    execFileSync("rm", [base]);
    const result = await boot("-d", top, "--", "true");
    expect(result.status).toBe(125);
    expect(result.stderr).toContain(base);
  });
});
