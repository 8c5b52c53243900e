/** How disks are served: past the page cache, with limits, on a full host disk, in boot order. */
import { readFileSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { beforeAll, expect, test } from "vitest";
import { makeBlank, makeExt4, makeTree } from "./support/disks.ts";
import { check, DEBUGFS, findTool, KVM, MKE2FS, MOUNT_NAMESPACE, suite, tool } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { tsvm } from "./support/tsvm.ts";

const MiB = 2 ** 20;
const files = scratch();
const boot = (...args: string[]): ReturnType<typeof tsvm> => tsvm(["boot", "-m", "64M", ...args]);

suite("a disk", [KVM, tool("qemu-img", "qemu-utils")], () => {
  const qemuImg = (...args: string[]): string =>
    execFileSync(findTool("qemu-img")!, args, { encoding: "utf8" });

  test("is the same with every cache mode, and held to its limits", async () => {
    const content = Buffer.alloc(4 * MiB, "what stands there ");
    const direct = files.path("direct.img", content);
    const unsafe = files.path("unsafe.img", content);
    const limited = makeBlank(files.path("limited.img"), 4);
    const qcow2 = files.path("direct.qcow2");
    qemuImg("convert", "-f", "raw", "-O", "qcow2", direct, qcow2);
    // Reads 64 KiB at 1 MiB, and writes them to 2 MiB, on each; then 12 single writes, of which 4 pass at once.
    const script = `
      for disk in vdb vdc vdd; do
        dd if=/dev/$disk bs=64k skip=16 count=1 iflag=direct 2>/dev/null |
          dd of=/dev/$disk bs=64k seek=32 conv=fsync 2>/dev/null
        dd if=/dev/zero of=/dev/$disk bs=4k seek=700 count=8 oflag=direct 2>/dev/null
      done
      read -r before rest </proc/uptime
      n=0
      while [ $n -lt 12 ]; do
        dd if=/dev/zero of=/dev/vde bs=4k seek=$n count=1 oflag=direct 2>/dev/null
        n=$((n + 1))
      done
      read -r after rest </proc/uptime
      echo "$before $after"`;
    const disks = [
      `${direct},format=raw,cache=none`,
      `${qcow2},cache=none`,
      `${unsafe},format=raw,cache=unsafe`,
      `${limited},format=raw,iops-write=4`,
    ].flatMap((disk) => ["-d", disk]);
    const result = await boot(...disks, "--", "sh", "-c", script);
    expect(result).toMatchObject({ status: 0, stderr: "" });
    const [before, after] = result.stdout.split(" ").map(Number);
    expect(after! - before!).toBeGreaterThanOrEqual(1.9);

    content.copy(content, 2 * MiB, MiB, MiB + 65536);
    content.fill(0, 700 * 4096, 708 * 4096);
    expect(readFileSync(direct).equals(content)).toBe(true);
    expect(readFileSync(unsafe).equals(content)).toBe(true);
    qemuImg("check", qcow2);
    const raw = files.path("converted.raw");
    qemuImg("convert", "-O", "raw", qcow2, raw);
    expect(readFileSync(raw).equals(content)).toBe(true);
  });

  check(
    "that the host has no room for is an error in the guest, which goes on",
    [MOUNT_NAMESPACE],
    async () => {
      const mountPoint = files.path("small");
      execFileSync("mkdir", [mountPoint]);
      const prepare = `mount -t tmpfs -o size=1M tmpfs ${mountPoint} && truncate -s 4M ${mountPoint}/disk.img && exec "$@"`;
      const script = `
      dd if=/dev/zero of=/dev/vdb bs=64k count=4 conv=fsync 2>/dev/null && echo "room for one"
      yes | dd of=/dev/vdb bs=64k seek=16 count=24 conv=fsync 2>/dev/null || echo "no room for more"
      dd if=/dev/vdb bs=64k count=4 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c`;
      const result = await tsvm(
        ["boot", "-m", "64M", "-d", `${mountPoint}/disk.img,format=raw`, "--", "sh", "-c", script],
        { wrapper: ["unshare", "--mount", "sh", "-c", prepare, "sh"] },
      );
      expect(result.stdout.split("\n").map((line) => line.trim())).toEqual([
        "room for one",
        "no room for more",
        "0",
        "",
      ]);
      expect(result.status).toBe(0);
    },
  );

  test.each([
    ["cache=fast", '--disk: cache: "fast" is not one of writeback, none, unsafe'],
    ["iops=lots", '--disk: iops: "lots" is not a whole number of at least 1'],
    ["iops=0", '--disk: iops: "0" is not a whole number of at least 1'],
    ["boot=0", '--disk: boot: "0" is not a whole number of at least 1'],
  ])("with %s is refused", async (property, message) => {
    const disk = makeBlank(files.path("refused.img"), 1);
    const result = await boot("-d", `${disk},${property}`, "--", "true");
    expect(result.stdout).toBe("");
    expect(result.stderr).toContain(message);
    expect(result.status).toBe(2);
  });

  test("that is no multiple of its block is refused with cache=none, with the remedy", async () => {
    const disk = files.path("odd.qcow2");
    qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", disk, "1M");
    const result = await boot("-d", `${disk},cache=none`, "--", "echo", "booted");
    // Where the block is 512 bytes, such clusters are fine.
    if (result.status === 0) expect(result.stdout).toBe("booted\n");
    else expect(result.stderr).toMatch(/clusters of 512 bytes are smaller than the 4096-byte block/);
  });
});

suite("the boot order", [KVM, MKE2FS, DEBUGFS], () => {
  let root: string;
  beforeAll(() => {
    const tree = makeTree(files.path("tree"));
    writeFileSync(`${tree}/etc/greeting`, "hello from the second disk\n");
    root = makeExt4(files.path("root.ext4"), 32, tree);
  });

  test("says which disk is the root", async () => {
    const data = makeBlank(files.path("data.img"), 8);
    const command = ["--", "sh", "-c", "cat /etc/greeting; mount | grep ' / '"];
    const result = await boot(data, "-d", `${root},boot=1`, ...command);
    expect(result.stdout).toMatch(/^hello from the second disk\n\/dev\/(root|vdb) on \/ type ext4/);
    expect(result.status).toBe(0);
  });
});
