/** tsvm image add-agent, with file systems that look like systems. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, expect, test } from "vitest";
import { importLibrary, MiB } from "./support/library.ts";
import { DEBUGFS, E2FSCK, findTool, KVM, MKE2FS, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { ENDLESS_LOOP, pvhGuest } from "./support/tiny-guests.ts";
import { tsvm } from "./support/tsvm.ts";

const files = scratch();
const { Machine, releaseIdleWorkers } = await importLibrary();
afterAll(() => releaseIdleWorkers());

/** An ext4 image with these files, or links where the content begins with an arrow. */
function image(name: string, content: Record<string, string>): string {
  const root = files.path(`${name}.root`);
  for (const [path, text] of Object.entries(content)) {
    const file = `${root}/${path}`;
    mkdirSync(dirname(file), { recursive: true });
    if (text.startsWith("->")) symlinkSync(text.slice(2), file);
    else writeFileSync(file, text);
  }
  const path = files.path(`${name}.ext4`);
  execFileSync(findTool("mke2fs")!, ["-q", "-t", "ext4", "-d", root, path, "32M"], { stdio: "ignore" });
  return path;
}

const debugfs = (path: string, request: string): string =>
  execFileSync(findTool("debugfs")!, ["-R", request, path], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });

const DEBIAN = { "usr/lib/systemd/systemd": "", lib: "->usr/lib", "etc/systemd/system/other": "" };

suite("tsvm image add-agent", [KVM, MKE2FS, E2FSCK, DEBUGFS], () => {
  test("installs program and unit, in good order", async () => {
    const path = image("debian", DEBIAN);
    const { status, stdout, stderr } = await tsvm(["image", "add-agent", path]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("/usr/lib/tsvm/tsvm-agent");
    execFileSync(findTool("e2fsck")!, ["-f", "-n", path], { stdio: "ignore" });
    const program = files.path("program");
    debugfs(path, `dump /usr/lib/tsvm/tsvm-agent ${program}`);
    expect(readFileSync(program).equals(readFileSync(new URL("../images/agent", import.meta.url)))).toBe(
      true,
    );
    expect(debugfs(path, "stat /usr/lib/tsvm/tsvm-agent")).toMatch(/Mode:\s+0755/);
    expect(debugfs(path, "cat /etc/systemd/system/tsvm-agent.service")).toContain(
      "ExecStart=/usr/lib/tsvm/tsvm-agent\n",
    );
    expect(debugfs(path, "stat /etc/systemd/system/multi-user.target.wants/tsvm-agent.service")).toContain(
      'Fast link dest: "../tsvm-agent.service"',
    );
  });

  test("says what it cannot do, and changes nothing then", async () => {
    const alpine = image("alpine", { "sbin/openrc": "", "etc/inittab": "" });
    const before = readFileSync(alpine);
    const result = await tsvm(["image", "add-agent", alpine]);
    expect(result.status).toBe(125);
    expect(result.stderr).toContain("its services are started by OpenRC");
    expect(readFileSync(alpine).equals(before)).toBe(true);
    const empty = await tsvm(["image", "add-agent", image("empty", { "etc/passwd": "" })]);
    expect(empty.stderr).toContain("there is no system with systemd on it that can be changed (ext4)");
    expect((await tsvm(["image", "add-agent", `${alpine}:7`])).stderr).toContain("there is no partition 7");
    expect((await tsvm(["image", "add-agent", files.path("missing")])).status).toBe(125);
  });

  test("leaves an image alone that is in use", async () => {
    const path = image("used", DEBIAN);
    const kernel = files.path("spin.elf", pvhGuest(ENDLESS_LOOP));
    const machine = await Machine.boot({ cpus: 1, memory: 32 * MiB, kernel, disks: [{ path }] });
    const result = await tsvm(["image", "add-agent", path]);
    await machine.stop();
    expect([result.status, result.stderr]).toEqual([125, expect.stringContaining("in use")]);
  });
});
