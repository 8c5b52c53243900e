/** `tsvm image`, on images that mke2fs and sfdisk made. Needs no KVM. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { findTool, MKE2FS, suite, tool } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { tsvm } from "./support/tsvm.ts";

const files = scratch();
const MiB = 2 ** 20;

suite("tsvm image", [MKE2FS, tool("sfdisk", "fdisk")], () => {
  const plain = files.path("plain.img");
  const partitioned = files.path("partitioned.img");
  const content = Buffer.from(Array.from({ length: 3 * MiB }, (_, index) => index * 7));

  beforeAll(() => {
    const tree = files.path("tree");
    mkdirSync(`${tree}/etc`, { recursive: true });
    writeFileSync(`${tree}/etc/hostname`, "in the image\n", { mode: 0o640 });
    writeFileSync(`${tree}/large`, content);
    writeFileSync(`${tree}/\u001b[2J`, "a name that clears the screen");
    symlinkSync("etc/hostname", `${tree}/link`);
    makeExt4(plain, tree, 0);
    makeExt4(partitioned, tree, 1 * MiB);
    execFileSync(findTool("sfdisk")!, ["--quiet", partitioned], {
      input: "label: gpt\nstart=2048, type=linux, name=data\n",
    });
  });

  function makeExt4(path: string, tree: string, offset: number): void {
    writeFileSync(path, "");
    truncateSync(path, 20 * MiB);
    const place = offset === 0 ? [] : ["-E", `offset=${offset}`];
    const args = ["-q", "-t", "ext4", "-L", "data", ...place, "-d", tree, path, `${16 * 1024}`];
    execFileSync(findTool("mke2fs")!, args, { stdio: "pipe" });
  }

  test("ls lists partitions, directories, single files, and no control characters", async () => {
    const partitions = await tsvm(["image", "ls", partitioned]);
    expect(partitions.stdout).toMatch(/^ {2}1 +\d+ MiB {2}Linux: ext4, label "data"\n$/);
    const root = await tsvm(["image", "ls", `${partitioned}:1`]);
    expect(root).toMatchObject({ status: 0, stderr: "" });
    expect(root.stdout).toMatch(/^drwx.* etc$/m);
    expect(root.stdout).toMatch(/^l.* link -> etc\/hostname$/m);
    expect(root.stdout).toMatch(/^-rw-.* +3145728 \d{4}-\d\d-\d\d \d\d:\d\d large$/m);
    expect(root.stdout).toContain("\\x1b[2J");
    const file = await tsvm(["image", "ls", "--json", plain, "/etc/hostname"]);
    expect(JSON.parse(file.stdout)).toMatchObject([{ type: "file", mode: 0o640, size: 13 }]);
  });

  test("cat prints files, byte by byte, and follows links", async () => {
    expect((await tsvm(["image", "cat", plain, "/large"])).stdoutBytes.equals(content)).toBe(true);
    expect(await tsvm(["image", "cat", `${partitioned}:1`, "/link"])).toMatchObject({
      status: 0,
      stdout: "in the image\n",
    });
  });

  test("changes nothing", async () => {
    const before = readFileSync(plain);
    await tsvm(["image", "ls", plain]);
    await tsvm(["image", "cat", plain, "/large"]);
    await tsvm(["image", "kernels", plain]);
    expect(readFileSync(plain).equals(before)).toBe(true);
  });

  test.each([
    [["image", "cat", plain, "/nosuch"], `${plain}:/nosuch: no such file or directory`],
    [["image", "cat", plain, "/etc"], `${plain}:/etc: is a directory`],
    [["image", "ls", `${partitioned}:7`], `${partitioned}: there is no partition 7`],
    [["image", "ls", files.path("missing.img")], `disk ${files.path("missing.img")}: no such file`],
    [["image", "kernels", plain], `${plain}: no kernel was found in it. Looked at:`],
    [["boot", plain], `${plain}: no kernel was found in it. Looked at:`],
  ])("%j says what is wrong", async (args, message) => {
    const { status, stdout, stderr } = await tsvm(args);
    expect(stderr).toContain(`tsvm: ${message}`);
    expect({ status, stdout }).toEqual({ status: 125, stdout: "" });
  });
});
