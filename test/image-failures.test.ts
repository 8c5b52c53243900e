/**
 * `tsvm image` where things go wrong: what is said, word by word, with which status, and that nothing half made stays behind.
 * Needs no KVM.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { afterEach, beforeAll, expect, test } from "vitest";
import { openDisk } from "../src/disk/open.ts";
import { qemuCheck, qemuCompare, qemuImg, qemuIo } from "../src/disk/testing/qemu.ts";
import { check, MOUNT_NAMESPACE, QEMU_IMG, QEMU_IO, SCRIPT, suite, tool } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { SLOW_CONVERT, slowQemuImg } from "./support/slow-qemu-img.ts";
import { CTRL_C, Terminal } from "./support/terminal.ts";
import { finish, startTsvm, tsvm, until, type RunOptions, type RunResult } from "./support/tsvm.ts";

const files = scratch();
const cwd = files.directory;
const image = (args: string[], options: RunOptions = {}): Promise<RunResult> =>
  tsvm(["image", ...args], { cwd, ...options });

/** Runs it, and expects no output, these words, and the directory as it was. */
async function refuses(
  args: string[],
  { status = 125, message, hint }: { status?: number; message: string; hint?: string },
  options: RunOptions = {},
): Promise<void> {
  const before = contents();
  const result = await image(args, options);
  const stderr = `tsvm: ${message}\n${hint === undefined ? "" : `  → ${hint}\n`}`;
  expect(result).toMatchObject({ status, stdout: "", stderr });
  expect(contents()).toEqual(before);
}

/** Names, sizes and times of all files. */
function contents(): string[] {
  return readdirSync(cwd).map((name) => {
    const { size, mtimeMs } = statSync(files.path(name));
    return `${name} ${size} ${mtimeMs}`;
  });
}

suite("tsvm image", [QEMU_IMG, QEMU_IO], () => {
  const disk = files.path("disk.qcow2");
  const raw = files.path("disk.raw");
  const fds: number[] = [];

  beforeAll(() => {
    qemuImg("create", "-q", "-f", "qcow2", disk, "64M");
    qemuIo(disk, "qcow2", "write -P 0x41 0 32M");
    qemuImg("create", "-q", "-f", "raw", raw, "8M");
    qemuImg("snapshot", "-c", "clean", disk);
    mkdirSync(files.path("directory"));
    writeFileSync(files.path("empty"), "");
  });
  afterEach(() => {
    for (const fd of fds.splice(0)) closeSync(fd);
  });

  const NO_QEMU_IMG = {
    message: "this needs qemu-img, which is not in PATH",
    hint: "install it: sudo apt-get install qemu-utils (the package is called qemu-img on Fedora and Alpine)",
  };
  test.each([
    [["create", "new.qcow2", "1G"]],
    [["convert", "disk.qcow2", "new.qcow2"]],
    [["overlay", "disk.qcow2", "new.qcow2"]],
    [["resize", "disk.qcow2", "1G"]],
    [["check", "disk.qcow2"]],
    [["snapshot", "create", "disk.qcow2", "new"]],
  ])("%j without qemu-img says what to install", (args) => refuses(args, NO_QEMU_IMG, { env: { PATH: "" } }));

  test("info and snapshot list do without", async () => {
    const env = { PATH: "" };
    expect(await image(["info", "disk.qcow2"], { env })).toMatchObject({ status: 0, stderr: "" });
    expect(await image(["snapshot", "list", "disk.qcow2"], { env })).toMatchObject({ status: 0, stderr: "" });
  });

  test.each([
    ["info", "missing"],
    ["check", "missing"],
    ["resize", "missing", "+1G"],
    ["snapshot", "list", "missing"],
    ["snapshot", "create", "missing", "name"],
    ["convert", "missing", "new"],
    ["overlay", "missing", "new"],
  ])("%j of a file that is missing", (...args) => refuses(args, { message: "disk missing: no such file" }));

  test.each([
    ["info", "directory"],
    ["check", "directory"],
    ["resize", "directory", "+1G"],
    ["convert", "directory", "new"],
    ["overlay", "directory", "new"],
  ])("%j of a directory", (...args) =>
    refuses(args, { message: "disk directory: is a directory, not an image" }),
  );

  test.each([
    ["create", "NEW", "1G"],
    ["convert", "disk.raw", "NEW"],
    ["overlay", "disk.raw", "NEW"],
  ])("%s does not replace what is there", async (...args) => {
    const into = (name: string): string[] => args.map((one) => (one === "NEW" ? name : one));
    await refuses(into("disk.qcow2"), {
      message: "disk disk.qcow2: exists already",
      hint: "--force replaces it",
    });
    await refuses(into("directory"), {
      message: "disk directory: is a directory",
      hint: "name a file in it",
    });
    await refuses([...into("directory"), "--force"], {
      message: "disk directory: is a directory; --force replaces only files",
      hint: "name another place",
    });
    await refuses(into("no/new"), {
      message: "disk no/new: there is no directory no",
      hint: "make it: mkdir -p no",
    });
    for (const time of ["first", "second"]) {
      expect({ time, ...(await image([...into("again"), "--force"])) }).toMatchObject({
        status: 0,
        stderr: "",
      });
    }
  });

  test("neither a source nor its base is replaced by what is made from it", async () => {
    qemuImg("create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", files.path("top.qcow2"));
    symlinkSync("disk.qcow2", files.path("link"));
    for (const args of [
      ["convert", "disk.qcow2", "disk.qcow2"],
      ["convert", "top.qcow2", "disk.qcow2"],
      ["overlay", "top.qcow2", "disk.qcow2"],
      ["convert", "disk.qcow2", "link"],
    ]) {
      await refuses([...args, "--force"], {
        message: `disk ${args[2]}: the new image needs disk.qcow2, which is the same file`,
        hint: "name another one",
      });
    }
    expect(readlinkSync(files.path("link"))).toBe("disk.qcow2");
  });

  test("formats and options that make no sense are errors of usage", async () => {
    const usage = (args: string[], message: string, hint?: string): Promise<void> =>
      refuses(args, { status: 2, message, ...(hint === undefined ? {} : { hint }) });
    await usage(["create", "new", "many"], 'size: "many" is not a size', "write for example 256M or 2G");
    await usage(["create", "new", "0"], 'size: a disk of "0" has no room for anything');
    await usage(
      ["create", "new.raw", "1G", "--cluster-size", "64K"],
      "--cluster-size is for qcow2 images",
      "leave it out, or say --format qcow2",
    );
    await usage(
      ["convert", "disk.qcow2", "new", "-c", "zlib", "--preallocation", "full"],
      "--compression and --preallocation exclude each other",
      "give only one of them",
    );
    const vmdk = await image(["create", "new", "1G", "--format", "vmdk"]);
    expect(vmdk).toMatchObject({ status: 2, stdout: "" });
    expect(vmdk.stderr).toContain('--format: "vmdk" is not one of raw, qcow2');
    await refuses(["convert", "--from", "nosuch", "disk.raw", "new"], {
      message: 'disk disk.raw: qemu-img knows no format "nosuch"',
      hint: "qemu-img --help ends with a list of formats",
    });
    await refuses(["convert", "--from", "vmdk", "disk.raw", "new"], {
      message: "disk disk.raw: qemu-img: invalid VMDK image descriptor",
    });
    await refuses(["check", "disk.raw"], {
      message: "disk disk.raw: its format has no tables that could be checked, as is so with raw images",
    });
  });

  test("shrinking wants --shrink", async () => {
    await refuses(["resize", "disk.qcow2", "16M"], {
      message: "disk disk.qcow2: 16 MiB are less than the 64 MiB it has, and the rest would be lost",
      hint: "make the file system in it smaller first, then say --shrink",
    });
    await refuses(["resize", "disk.raw", "--shrink", "--", "-8M"], {
      message: "disk disk.raw: has 8 MiB, and nothing would be left",
    });
    await refuses(["overlay", "disk.qcow2", "new", "16M"], {
      message: "disk new: 16 MiB are less than the 64 MiB of disk.qcow2, whose end the guest would not see",
      hint: "--shrink does it nevertheless",
    });
  });

  test("snapshots that cannot be", async () => {
    await refuses(["snapshot", "apply", "disk.qcow2", "claen"], {
      message: 'disk disk.qcow2: has no snapshot "claen"',
      hint: 'do you mean "clean"?',
    });
    await refuses(["snapshot", "delete", "disk.qcow2", "something else"], {
      message: 'disk disk.qcow2: has no snapshot "something else"',
      hint: 'it has "clean"',
    });
    await refuses(["snapshot", "create", "disk.qcow2", "clean"], {
      message: 'disk disk.qcow2: has a snapshot "clean" already',
      hint: "name another one, or delete that one first",
    });
    await refuses(["snapshot", "create", "disk.qcow2", "1"], {
      message: 'disk disk.qcow2: "1" is no name for a snapshot: numbers are ids',
    });
    await refuses(["snapshot", "create", "disk.raw", "x"], {
      message: "disk disk.raw: is a raw image, which cannot hold snapshots",
      hint: "convert it to qcow2 (tsvm image convert), or work on an overlay: tsvm image overlay disk.raw NEW",
    });
  });

  const inUse = (name: string, hint = "stop that one first"): { message: string; hint: string } => ({
    message: `disk ${name}: in use by another program (another tsvm or QEMU)`,
    hint,
  });

  test.each(["disk.qcow2", "disk.raw"])(
    "an image (%s) that a machine writes to is left alone",
    async (name) => {
      fds.push(...openDisk(files.path(name), { readOnly: false, ephemeral: false }).fds);
      await refuses(["resize", name, "+1M"], inUse(name));
      await refuses(["convert", name, "new"], inUse(name));
      await refuses(["overlay", name, "new"], inUse(name, "stop the one that writes to it first"));
      await refuses(
        ["create", name, "1M", "--force"],
        inUse(name, "stop that one first, or boot a copy of the image"),
      );
      if (name.endsWith("raw")) return;
      await refuses(["check", name], inUse(name));
      await refuses(["check", "--repair", "all", name], inUse(name));
      await refuses(["snapshot", "create", name, "x"], inUse(name));
      await refuses(["snapshot", "apply", name, "clean"], inUse(name));
      await refuses(["snapshot", "delete", name, "clean"], inUse(name));
      expect(await image(["info", name])).toMatchObject({ status: 0, stderr: "" });
    },
  );

  test("an image that a machine only reads may be a base, may be copied, and is not changed", async () => {
    fds.push(...openDisk(disk, { readOnly: true, ephemeral: false }).fds);
    await refuses(["resize", "disk.qcow2", "+1M"], inUse("disk.qcow2"));
    expect(await image(["convert", "disk.qcow2", "shared-copy.raw"])).toMatchObject({
      status: 0,
      stderr: "",
    });
    expect(await image(["overlay", "disk.qcow2", "shared-top.qcow2"])).toMatchObject({
      status: 0,
      stderr: "",
    });
  });

  test("the base that is in use is named, not what is above it", async () => {
    expect(await image(["overlay", "disk.raw", "over-raw.qcow2"])).toMatchObject({ status: 0 });
    fds.push(...openDisk(raw, { readOnly: false, ephemeral: false }).fds);
    const { status, stderr } = await image(["convert", "over-raw.qcow2", "new"]);
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: expect.stringContaining("disk.raw: in use by another"),
    });
  });

  check("a base is locked while an overlay is made", [], async () => {
    const env = slowQemuImg(files, "slow-create", '[ "$1" = create ] && sleep 2');
    const running = startTsvm(["image", "overlay", "disk.qcow2", "locked-top.qcow2"], { cwd, env });
    await until("the overlay", () => leftovers().length > 0);
    await refusesQemuWriter(disk);
    expect(await finish(running)).toMatchObject({ status: 0 });
  });

  async function refusesQemuWriter(path: string): Promise<void> {
    const writer = spawn("qemu-io", ["-f", "qcow2", "-c", "write 0 512", path], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [writer.stdout, writer.stderr])
      stream.on("data", (bytes: Buffer) => (said += bytes));
    await once(writer, "close");
    expect(said).toContain('Failed to get "write" lock');
  }

  /** Temporary files. */
  function leftovers(): string[] {
    return readdirSync(cwd).filter((name) => name.endsWith(".tmp"));
  }
  /** Processes that work on a file. */
  function processes(path: string): string[] {
    return readdirSync("/proc").filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(path);
      } catch {
        return false; // it has ended meanwhile
      }
    });
  }

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("%s ends a conversion with %i and without a trace", async (signal, status) => {
    const env = slowQemuImg(files, `slow-${signal}`, SLOW_CONVERT);
    const before = readFileSync(disk);
    const names = readdirSync(cwd);
    const running = startTsvm(["image", "convert", "disk.qcow2", "interrupted.raw"], { cwd, env });
    await until("some of the image", () => leftovers().some((name) => statSync(files.path(name)).blocks > 0));
    const [temporary] = leftovers();
    running.kill(signal);
    expect(await finish(running)).toMatchObject({ status, stdout: "", stderr: "" });
    expect(processes(temporary!)).toEqual([]);
    expect(readdirSync(cwd)).toEqual(names);
    expect(readFileSync(disk).equals(before)).toBe(true);
  });

  test("an interrupted conversion with --force leaves the old image", async () => {
    const env = slowQemuImg(files, "slow-force", SLOW_CONVERT);
    writeFileSync(files.path("kept.raw"), "old");
    const running = startTsvm(["image", "convert", "--force", "disk.qcow2", "kept.raw"], { cwd, env });
    await until("some of the image", () => leftovers().some((name) => statSync(files.path(name)).blocks > 0));
    running.kill("SIGTERM");
    expect(await finish(running)).toMatchObject({ status: 143 });
    expect(readFileSync(files.path("kept.raw"), "utf8")).toBe("old");
    expect(leftovers()).toEqual([]);
  });

  check(
    "qemu-img does not outlive a tsvm that is killed by SIGKILL",
    [tool("setpriv", "util-linux")],
    async () => {
      const env = slowQemuImg(files, "slow-kill", SLOW_CONVERT);
      const running = startTsvm(["image", "convert", "disk.qcow2", "killed.raw"], { cwd, env });
      await until("some of the image", () =>
        leftovers().some((name) => statSync(files.path(name)).blocks > 0),
      );
      const [temporary] = leftovers();
      running.kill("SIGKILL");
      await finish(running);
      await until("the end of qemu-img", () => processes(temporary!).length === 0);
      expect(existsSync(files.path("killed.raw"))).toBe(false);
      execFileSync("rm", [files.path(temporary!)]);
    },
  );

  test("SIGINT lets a snapshot be finished, and a second one does not", async () => {
    const flag = files.path("snapshot-runs");
    const env = slowQemuImg(files, "slow-snapshot", `[ "$1" = snapshot ] && { touch ${flag}; sleep 2; }`);
    const moment = "tsvm: a moment, to leave no image half changed; a second signal ends it\n";
    for (const [name, times] of [
      ["patient", 1],
      ["impatient", 2],
    ] as const) {
      const running = startTsvm(["image", "snapshot", "create", "disk.qcow2", name], { cwd, env });
      await until("qemu-img", () => existsSync(flag));
      running.kill("SIGINT");
      if (times === 2) {
        await new Promise((resolve) => running.stderr.once("data", resolve));
        running.kill("SIGINT");
      }
      expect(await finish(running)).toMatchObject({ status: 130, stderr: moment });
      execFileSync("rm", [flag]);
    }
    const list = (await image(["snapshot", "list", "disk.qcow2"])).stdout;
    expect(list).toContain(" patient ");
    expect(list).not.toContain("impatient");
    expect(qemuCheck(disk)).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
  });

  test.each(["raw", "qcow2"])(
    "an interrupted allocation gives a %s image its old size back",
    async (format) => {
      const name = `half.${format}`;
      const [path, copy] = [files.path(name), files.path(`${name}.copy`)];
      qemuImg("create", "-q", "-f", format, path, "4M");
      qemuIo(path, format, "write -P 0x42 1M 2M");
      execFileSync("cp", [path, copy]);
      const running = startTsvm(["image", "resize", name, "64G", "--preallocation", "full"], { cwd });
      await until("some of it", () => statSync(path).blocks * 512 > 64 * 2 ** 20);
      running.kill("SIGINT");
      expect(await finish(running)).toMatchObject({ status: 130, stdout: "", stderr: "" });
      expect(qemuCompare(path, format, copy, format)).toBeUndefined();
      expect(statSync(path).size).toBeLessThan(64 * 2 ** 20);
      if (format === "qcow2") expect(qemuCheck(path)).toMatchObject({ corruptions: 0, leaks: 0, errors: 0 });
    },
  );

  check("a full disk is told, and leaves nothing", [MOUNT_NAMESPACE], async () => {
    const script = `mount -t tmpfs -o size=8M tmpfs directory; "$@"; status=$?; ls -A directory; exit $status`;
    const wrapper = ["unshare", "--mount", "sh", "-c", script, "sh"];
    const full = {
      message: "disk directory/new: no space left on the host's disk",
      hint: "free some space, or put the image elsewhere",
    };
    await refuses(["convert", "disk.qcow2", "directory/new"], full, { wrapper });
    for (const how of ["full", "falloc"]) {
      await refuses(["create", "directory/new", "64M", "--preallocation", how], full, { wrapper });
    }
  });

  check("a limit of the size of files is told, and leaves nothing", [tool("prlimit", "util-linux")], () =>
    refuses(
      ["convert", "disk.qcow2", "new"],
      {
        message: "disk new: its file system, or a limit (ulimit -f), allows no file of that size",
        hint: "put the image elsewhere, or raise the limit",
      },
      { wrapper: ["prlimit", `--fsize=${2 ** 20}`] },
    ),
  );

  check("on a terminal there is a progress bar, which Ctrl-C takes away", [SCRIPT], async () => {
    const env = slowQemuImg(files, "slow-terminal", SLOW_CONVERT);
    const terminal = new Terminal(["image", "convert", disk, files.path("seen.raw")], { env });
    try {
      await terminal.see(/[1-9]\d* %, \S+ left/);
      terminal.type(CTRL_C);
      const { status, before, after } = await terminal.end();
      expect(status).toBe(130);
      expect(after).toBe(before);
      expect(terminal.bytes).toContain("\u001b[?25h"); // the cursor is back
    } finally {
      await terminal.close();
    }
    expect(existsSync(files.path("seen.raw"))).toBe(false);
    expect(leftovers()).toEqual([]);
  });
});
