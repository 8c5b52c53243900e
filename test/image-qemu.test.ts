/** `tsvm image create, convert, overlay, resize, snapshot, check, info`, judged by qemu-img and qemu-io. Needs no KVM. */
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  statSync,
  writeSync,
} from "node:fs";
import { expect, test } from "vitest";
import type { ImageInfoResult } from "../src/disk/info.ts";
import { qemuCheck, qemuCompare, qemuImg, qemuIo } from "../src/disk/testing/qemu.ts";
import { QEMU_IMG, QEMU_IO, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { tsvm, type RunResult } from "./support/tsvm.ts";

const MiB = 2 ** 20;
const files = scratch();
const cwd = files.directory;

const image = (...args: string[]): Promise<RunResult> => tsvm(["image", ...args], { cwd });
/** Runs it with --json, which must succeed without a word on stderr. */
async function json<T>(...args: string[]): Promise<T> {
  const { status, stdout, stderr } = await image(args[0]!, "--json", ...args.slice(1));
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as T;
}
/** What qemu-img says of an image. */
const judged = (path: string): Record<string, unknown> =>
  JSON.parse(qemuImg("info", "--output=json", path)) as Record<string, unknown>;
function expectClean(path: string): void {
  expect(qemuCheck(path)).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
}
/** A qcow2 image with a pattern from the 2nd to the 5th MiB. */
function patterned(name: string, ...options: string[]): string {
  const path = files.path(name);
  qemuImg("create", "-q", "-f", "qcow2", ...options, path, "16M");
  qemuIo(path, "qcow2", "write -P 0x51 1M 3M");
  return path;
}

suite("tsvm image", [QEMU_IMG, QEMU_IO], () => {
  test("create makes images of both formats, with options", async () => {
    const plain = await image("create", "plain.qcow2", "10G");
    expect(plain).toMatchObject({ status: 0, stderr: "" });
    expect(plain.stdout).toMatch(/^plain\.qcow2: qcow2, 10 GiB, \d+ KiB on disk\n$/);
    expect(judged(files.path("plain.qcow2"))).toMatchObject({
      format: "qcow2",
      "virtual-size": 10 * 2 ** 30,
    });
    const { image: small } = await json<ImageInfoResult>(
      "create",
      "small.qcow2",
      "1000B",
      "--cluster-size",
      "4K",
    );
    expect(small).toMatchObject({
      virtualSize: 1024,
      qcow2: { version: 3, clusterSize: 4096 },
      backing: null,
    });
    const { image: full } = await json<ImageInfoResult>(
      "create",
      "full.img",
      "4M",
      "--preallocation",
      "full",
    );
    expect(full).toMatchObject({ format: "raw", virtualSize: 4 * MiB, qcow2: null });
    expect(full.diskUsage).toBeGreaterThanOrEqual(4 * MiB);
    await json("create", "tables.qcow2", "64M", "--preallocation", "metadata");
    for (const name of ["plain", "small", "tables"]) expectClean(files.path(`${name}.qcow2`));
  });

  test("convert keeps the content, from and to any format", async () => {
    const source = patterned("source.qcow2");
    const raw = await image("convert", "source.qcow2", "copy.raw");
    expect(raw).toMatchObject({ status: 0, stdout: "copy.raw: raw, 16 MiB, 3 MiB on disk\n", stderr: "" });
    expect(qemuCompare(source, "qcow2", files.path("copy.raw"), "raw")).toBeUndefined();
    for (const format of ["vmdk", "vdi", "vhdx", "vpc"]) {
      const foreign = files.path(`foreign.${format}`);
      qemuImg("convert", "-O", format, source, foreign);
      await json("convert", `foreign.${format}`, `from-${format}`);
      await json("convert", "--from", format, "--force", `foreign.${format}`, `from-${format}`);
      qemuIo(
        files.path(`from-${format}`),
        "qcow2",
        "read -P 0 0 1M",
        "read -P 0x51 1M 3M",
        "read -P 0 4M 12M",
      );
    }
    for (const type of ["zlib", "zstd"]) {
      const { image: packed } = await json<ImageInfoResult>(
        "convert",
        "copy.raw",
        `${type}.qcow2`,
        "-c",
        type,
        "--cluster-size",
        "128K",
      );
      expect(packed).toMatchObject({ qcow2: { compression: type, clusterSize: 128 * 1024 } });
      expect(packed.diskUsage).toBeLessThan(MiB);
      expectClean(files.path(`${type}.qcow2`));
      expect(qemuCompare(source, "qcow2", files.path(`${type}.qcow2`), "qcow2")).toBeUndefined();
    }
  });

  test("convert of a private image makes a private image, and flattens what is below", async () => {
    patterned("secret-base.qcow2");
    await json("overlay", "secret-base.qcow2", "secret.qcow2");
    chmodSync(files.path("secret.qcow2"), 0o600);
    qemuIo(files.path("secret.qcow2"), "qcow2", "write -P 0x52 2M 1M");
    const { image: flat } = await json<ImageInfoResult>("convert", "secret.qcow2", "flat.qcow2");
    expect(flat.backing).toBeNull();
    expect(statSync(files.path("flat.qcow2")).mode & 0o777).toBe(0o600);
    qemuIo(
      files.path("flat.qcow2"),
      "qcow2",
      "read -P 0x51 1M 1M",
      "read -P 0x52 2M 1M",
      "read -P 0x51 3M 1M",
    );
  });

  test("overlay finds its base from wherever it lies, and leaves it as it is", async () => {
    const base = patterned("base.qcow2");
    const before = readFileSync(base);
    mkdirSync(files.path("vms"));
    const made = await image("overlay", "base.qcow2", "vms/vm1.qcow2");
    expect(made.stdout).toMatch(
      /^vms\/vm1\.qcow2: qcow2, 16 MiB, \d+ KiB on disk, over \.\.\/base\.qcow2 \(qcow2\)\n$/,
    );
    const top = files.path("vms/vm1.qcow2");
    expect(judged(top)).toMatchObject({
      "backing-filename": "../base.qcow2",
      "backing-filename-format": "qcow2",
    });
    qemuIo(top, "qcow2", "read -P 0x51 1M 3M", "write -P 0x53 0 16M");
    expectClean(top);
    expect(readFileSync(base).equals(before)).toBe(true);
    const { image: larger } = await json<ImageInfoResult>("overlay", base, "vms/vm2.qcow2", "32M");
    expect(larger).toMatchObject({
      virtualSize: 32 * MiB,
      qcow2: { backingFile: base },
      backing: { path: base },
    });
    await json("create", "plain.raw", "1M");
    expect(await json("overlay", "plain.raw", "raw-base.qcow2")).toMatchObject({
      image: { qcow2: { backingFormat: "raw" } },
      warnings: [],
    });
  });

  test("names that look like options, protocols and lists are names", async () => {
    const odd = ["-nbd:host,export", "json:{} \u001b[2J"];
    mkdirSync(files.path("odd"));
    const run = (...args: string[]): Promise<RunResult> =>
      tsvm(["image", ...args], { cwd: files.path("odd") });
    for (const [index, name] of odd.entries()) {
      const [copy, top] = [`http:${index}`, `-top:${index}`];
      for (const args of [
        ["create", "--", name, "1M"],
        ["resize", "--", name, "+1M"],
        ["snapshot", "create", "--", name, "-x"],
        ["snapshot", "apply", "--", name, "-x"],
        ["snapshot", "delete", "--", name, "-x"],
        ["check", "--", name],
        ["convert", "--", name, copy],
        ["overlay", "--", name, top],
        ["info", "--", top],
      ]) {
        const { status, stdout, stderr } = await run(...args);
        expect({ args, status, stderr }).toEqual({ args, status: 0, stderr: "" });
        expect(stdout).not.toMatch(/\u001b/);
      }
      expect(judged(files.path(`odd/${top}`))).toMatchObject({ "virtual-size": 2 * MiB });
    }
    expect(readdirSync(files.path("odd"))).toHaveLength(3 * odd.length);
  });

  test("resize grows and, if told to, shrinks", async () => {
    for (const format of ["raw", "qcow2"]) {
      const name = `sized.${format}`;
      await json("create", name, "8M");
      qemuIo(files.path(name), format, "write -P 0x54 0 2M");
      const sizes: [string[], number][] = [
        [["16M"], 16],
        [["+8M"], 24],
        [["+8M", "--preallocation", "full"], 32],
        [["--shrink", "--", "-24M"], 8],
        [["8M"], 8],
      ];
      for (const [args, mebibytes] of sizes) {
        const { image: now } = await json<ImageInfoResult>("resize", name, ...args);
        expect(now.virtualSize).toBe(mebibytes * MiB);
      }
      qemuIo(files.path(name), format, "read -P 0x54 0 2M", "read -P 0 2M 6M");
    }
    expectClean(files.path("sized.qcow2"));
  });

  test("snapshots are taken, listed, applied and deleted, by name or id", async () => {
    const path = patterned("snapshots.qcow2");
    expect(await image("snapshot", "list", "snapshots.qcow2")).toMatchObject({
      status: 0,
      stdout: "",
      stderr: "tsvm: snapshots.qcow2 has no snapshots\n",
    });
    expect(await image("snapshot", "create", "snapshots.qcow2", "before upgrade")).toMatchObject({
      status: 0,
      stdout: 'snapshots.qcow2: kept as "before upgrade"\n',
      stderr: "",
    });
    qemuIo(path, "qcow2", "write -P 0x55 0 16M");
    await image("snapshot", "create", "snapshots.qcow2", "after");
    expect(qemuImg("snapshot", "-l", path)).toMatch(/^1 +before upgrade .*\n2 +after /m);
    const list = await image("snapshot", "list", "snapshots.qcow2");
    expect(list.stdout).toMatch(
      /^ID {2}NAME +TAKEN \(UTC\) +DISK +MACHINE STATE\n1 +before upgrade +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +16 MiB +none\n2 +after .*\n$/,
    );
    await image("snapshot", "apply", "snapshots.qcow2", "before upgrade");
    qemuIo(path, "qcow2", "read -P 0 0 1M", "read -P 0x51 1M 3M");
    await image("snapshot", "apply", "snapshots.qcow2", "2");
    qemuIo(path, "qcow2", "read -P 0x55 0 16M");
    const { stdout } = await image("snapshot", "delete", "--json", "snapshots.qcow2", "1");
    expect(JSON.parse(stdout)).toMatchObject({
      path: "snapshots.qcow2",
      snapshots: [{ id: "2", name: "after" }],
    });
    expectClean(path);
  });

  test("a name that is the id of another snapshot means the one of that name; of two with one name, an id tells", async () => {
    const path = patterned("names.qcow2");
    qemuImg("snapshot", "-c", "2", path);
    qemuIo(path, "qcow2", "write -P 0x56 0 16M");
    qemuImg("snapshot", "-c", "twin", path);
    qemuImg("snapshot", "-c", "twin", path);
    qemuIo(path, "qcow2", "write -P 0x57 0 16M");
    expect(await image("snapshot", "apply", "names.qcow2", "2")).toMatchObject({ status: 0 });
    qemuIo(path, "qcow2", "read -P 0x51 1M 3M");
    expect(await image("snapshot", "apply", "names.qcow2", "twin")).toMatchObject({
      status: 125,
      stderr: 'tsvm: disk names.qcow2: has 2 snapshots called "twin"\n  → say which one by its id: 2, 3\n',
    });
    expect(await image("snapshot", "delete", "names.qcow2", "3")).toMatchObject({
      status: 125,
      stderr:
        'tsvm: disk names.qcow2: snapshots 2 and 3 are both called "twin", and qemu-img deletes the first\n' +
        "  → delete that one first: tsvm image snapshot delete names.qcow2 2\n",
    });
  });

  test("check tells clean, leaks and corrupt, and repairs", async () => {
    const clean = await image("check", patterned("clean.qcow2"));
    expect(clean).toMatchObject({ status: 0, stderr: "" });
    expect(clean.stdout).toContain(
      "clean.qcow2: clean (qcow2)\n  clusters: 48 of 256 allocated, 0 compressed, 0 fragmented\n",
    );

    const leaky = patterned("leaky.qcow2");
    forgetData(leaky);
    const leaks = await image("check", "leaky.qcow2");
    expect(leaks).toMatchObject({ status: 3, stderr: "  → tsvm image check --repair leaks leaky.qcow2\n" });
    expect(leaks.stdout).toContain(
      "leaky.qcow2: leaks (qcow2)\n  leaked clusters, which only waste space: 49\n",
    );
    const repaired = await image("check", "--repair", "leaks", "--json", "leaky.qcow2");
    expect(repaired.status).toBe(0);
    expect(JSON.parse(repaired.stdout)).toMatchObject({
      state: "clean",
      leaks: 0,
      repaired: { leaks: 49, corruptions: 0 },
    });
    expectClean(leaky);

    const corrupt = patterned("corrupt.qcow2");
    forgetReference(corrupt);
    const found = await image("check", "--json", "corrupt.qcow2");
    expect(found).toMatchObject({ status: 4, stderr: "" });
    expect(JSON.parse(found.stdout)).toMatchObject({
      path: "corrupt.qcow2",
      format: "qcow2",
      state: "corrupt",
      corruptions: 2,
    });
    const told = await image("check", "corrupt.qcow2");
    expect(told.stderr).toContain("tsvm: ERROR cluster 6 refcount=0 reference=1\n");
    expect(told.stderr).toContain("  → copy it, then: tsvm image check --repair all corrupt.qcow2\n");
    expect(await image("check", "--repair", "leaks", "corrupt.qcow2")).toMatchObject({
      status: 125,
      stdout: "",
      stderr:
        "tsvm: disk corrupt.qcow2: its reference counts have to be rebuilt, which is more than --repair leaks does\n" +
        "  → copy it, then: tsvm image check --repair all corrupt.qcow2\n",
    });
    expect(await image("check", "--repair", "all", "corrupt.qcow2")).toMatchObject({ status: 0 });
    expectClean(corrupt);
    qemuIo(corrupt, "qcow2", "read -P 0x51 1M 3M");
  });

  test("info needs no qemu-img, and shows the whole chain", async () => {
    const base = patterned("info-base.qcow2", "-o", "compat=0.10");
    qemuImg("snapshot", "-c", "clean\u001b[2J", base);
    qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "-b",
      "info-base.qcow2",
      "-F",
      "qcow2",
      "-o",
      "lazy_refcounts=on,compression_type=zstd",
      files.path("info.qcow2"),
    );
    qemuImg("bitmap", "--add", files.path("info.qcow2"), "b0");
    const { status, stdout, stderr } = await tsvm(["image", "info", "info.qcow2"], {
      cwd,
      env: { PATH: "" },
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const usage = String.raw`\d+(\.\d)? [KM]iB, in a file of \d+(\.\d)? [KM]iB`;
    const text = [
      "info.qcow2",
      "  format        qcow2, version 3",
      String.raw`  virtual size  16 MiB \(16777216 bytes\)`,
      `  disk usage    ${usage}`,
      "  clusters      64 KiB, compressed with zstd if at all; reference counts of 16 bits, written lazily",
      "  state         clean",
      String.raw`  backing file  info-base\.qcow2 \(qcow2\)`,
      "  bitmaps       1, consistent",
      "",
      "info-base.qcow2, 1 below",
      "  format        qcow2, version 2",
      String.raw`  virtual size  16 MiB \(16777216 bytes\)`,
      `  disk usage    ${usage}`,
      "  clusters      64 KiB, compressed with zlib if at all; reference counts of 16 bits",
      "  state         clean",
      String.raw`  snapshots     ID  NAME       TAKEN \(UTC\)          DISK    MACHINE STATE`,
      String.raw`                1   clean\?\[2J  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  16 MiB  none`,
    ];
    expect(stdout).toMatch(new RegExp(`^${text.join("\n")}\n$`));
    expect(await json("info", "info.qcow2")).toMatchObject({
      image: {
        format: "qcow2",
        virtualSize: 16 * MiB,
        qcow2: {
          lazyRefcounts: true,
          dirty: false,
          corrupt: false,
          bitmaps: { count: 1, consistent: true },
          backingFormat: "qcow2",
        },
        backing: { qcow2: { version: 2, snapshots: [{ id: "1" }] }, backing: null },
      },
      warnings: [],
    });
  });

  test("info warns of a base without a format, and agrees with qemu-img on every number", async () => {
    const path = files.path("unsaid.qcow2");
    patterned("unsaid-base.qcow2");
    qemuImg("create", "-q", "-f", "qcow2", "-b", "unsaid-base.qcow2", "-F", "qcow2", path, "24M");
    // The header extension with the format becomes one that nobody knows.
    overwrite(
      path,
      readFileSync(path).indexOf(Buffer.from("e2792aca", "hex")),
      Buffer.from("12345678", "hex"),
    );
    const { stderr } = await image("info", "unsaid.qcow2");
    expect(stderr).toContain("does not say in which format its backing file unsaid-base.qcow2 is");
    for (let [mine, theirs] = [(await json<ImageInfoResult>("info", path)).image, judged(path)]; ;) {
      expect(mine).toMatchObject({
        virtualSize: theirs["virtual-size"],
        diskUsage: theirs["actual-size"],
        format: theirs.format,
      });
      expect(mine.qcow2?.clusterSize).toBe(theirs["cluster-size"]);
      if (mine.backing === null || mine.backing === undefined) break;
      [mine, theirs] = [mine.backing, judged(mine.backing.path)];
    }
  });
});

/** The data's clusters are there, and nothing refers to them any more. */
function forgetData(path: string): void {
  const bytes = readFileSync(path);
  overwrite(path, Number(bytes.readBigUInt64BE(40)), Buffer.alloc(8));
}

/** A cluster of data is counted as free. */
function forgetReference(path: string): void {
  const bytes = readFileSync(path);
  const block = Number(bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(48))));
  overwrite(path, block + 6 * 2, Buffer.alloc(2));
}

function overwrite(path: string, offset: number, bytes: Buffer): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}
