/** Disks: what the guest writes is in the file, what it must not touch stays, and a file in use is refused. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import {
  chmodSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { e2fsck, makeBlank, makeExt4, makeTree, readFromImage } from "./support/disks.ts";
import {
  DEBUGFS,
  E2FSCK,
  KVM,
  MKE2FS,
  QEMU_IO,
  ROOT_USER,
  check,
  findTool,
  suite,
  tool,
} from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { sha256 } from "./support/sha256.ts";
import { ENDLESS_LOOP, ONE_BYTE_AND_RESET, pvhGuest } from "./support/tiny-guests.ts";
import { collect, finish, SLOWNESS, startTsvm, tsvm, until, type RunningTsvm } from "./support/tsvm.ts";

const MiB = 2 ** 20;
const files = scratch();
const guest = files.path("guest.elf", pvhGuest(ONE_BYTE_AND_RESET));
const spin = files.path("spin.elf", pvhGuest(ENDLESS_LOOP));

const digest = (path: string): string => sha256(readFileSync(path));
/** Bytes that the file occupies. */
const occupied = (path: string): number => statSync(path).blocks * 512;

suite("the system on a disk image", [KVM, MKE2FS, E2FSCK, DEBUGFS], () => {
  let tree: string;
  let root: string;
  beforeAll(() => {
    tree = makeTree(files.path("tree"));
    writeFileSync(`${tree}/etc/greeting`, "hello from the image\n");
    root = makeExt4(files.path("root.ext4"), 48, tree);
  });

  test("runs, with more disks; writes stay, and the space of what is discarded goes back", async () => {
    const data = makeBlank(files.path("data.img"), 8);
    const full = files.path("full.img", Buffer.alloc(8 * MiB, 0xa5));
    const guarded = files.path("guarded.img", Buffer.alloc(1 * MiB, "guarded "));
    const passing = files.path("passing.img", Buffer.alloc(1 * MiB, "passing "));
    const before = { guarded: digest(guarded), passing: digest(passing), full: occupied(full) };
    const script = `
      cat /etc/greeting
      for disk in vda vdb vdc vdd vde; do
        read -r serial </sys/block/$disk/serial
        read -r ro </sys/block/$disk/ro
        read -r size </sys/block/$disk/size
        echo "$disk $size $ro $serial"
      done
      echo written >/root/file
      dd if=/bin/busybox of=/dev/vdb bs=64k count=16 conv=fsync 2>/dev/null
      blkdiscard /dev/vdc
      echo changed | dd of=/dev/vdd conv=fsync 2>/dev/null && echo "guarded disk written"
      echo changed | dd of=/dev/vde conv=fsync 2>/dev/null && echo "passing disk written"
      : >/dev/null`;
    const disks = [
      `${data},serial=DATA-0123456789abcde`,
      full,
      `${guarded},ro,serial=guarded`,
      `${passing},ephemeral`,
    ].flatMap((disk) => ["-d", disk]);
    const result = await tsvm(["boot", "-m", "64M", ...disks, root, "--", "sh", "-c", script]);
    expect(result.stdout.split("\n")).toEqual([
      "hello from the image",
      `vda ${(48 * MiB) / 512} 0 `,
      `vdb ${(8 * MiB) / 512} 0 DATA-0123456789abcde`,
      `vdc ${(8 * MiB) / 512} 0 `,
      `vdd ${MiB / 512} 1 guarded`,
      `vde ${MiB / 512} 0 `,
      "passing disk written",
      "",
    ]);
    expect(result.status).toBe(0);

    expect(readFromImage(root, "/root/file").toString()).toBe("written\n");
    expect(e2fsck("-fn", root)).toMatchObject({ status: 0 });
    const busybox = readFileSync(`${tree}/bin/busybox`).subarray(0, MiB);
    expect(sha256(readFileSync(data).subarray(0, MiB))).toBe(sha256(busybox));
    expect(
      readFileSync(data)
        .subarray(MiB)
        .every((byte) => byte === 0),
    ).toBe(true);
    expect(statSync(full).size).toBe(8 * MiB);
    expect(occupied(full)).toBeLessThan(before.full / 8);
    expect(digest(guarded)).toBe(before.guarded);
    expect(digest(passing)).toBe(before.passing);
  });

  test("is left as it is, byte by byte, with --read-only", async () => {
    const before = digest(root);
    const script = "cat /etc/greeting; echo changed >/root/file || exit 9";
    const result = await tsvm(["boot", "-m", "64M", "--read-only", root, "--", "sh", "-c", script]);
    expect(result).toMatchObject({ status: 9, stdout: "hello from the image\n" });
    expect(result.stderr).toContain("Read-only file system");
    expect(digest(root)).toBe(before);
  });

  test("survives kill -9 in the middle of writes: what was synced is there, and e2fsck is content", async () => {
    const image = files.path("killed.ext4");
    makeExt4(image, 64, tree);
    // Each file is announced after it has been synced; meanwhile the next one is on its way.
    const script = `
      n=0
      while :; do
        dd if=/bin/busybox of=/root/$n bs=64k count=8 conv=fsync 2>/dev/null
        echo "synced $n"
        echo more >>/root/log
        n=$((n + 1))
      done`;
    const running = startTsvm(["boot", "-m", "64M", image, "--", "sh", "-c", script]);
    const stdout = collect(running.stdout);
    await until("files in the guest", () => stdout.text.includes("synced 2\n"), {
      detail: () => stdout.text,
    });
    await new Promise((resolve) => setTimeout(resolve, 400));
    running.kill("SIGKILL");
    expect(await finish(running)).toMatchObject({ status: undefined, signal: "SIGKILL" });

    const repair = e2fsck("-fy", image);
    expect(repair.status, repair.output).toBeLessThanOrEqual(1);
    expect(e2fsck("-fn", image)).toMatchObject({ status: 0 });
    const synced = [...stdout.text.matchAll(/^synced (\d+)$/gm)].map(([, n]) => n!);
    const expected = sha256(readFileSync(`${tree}/bin/busybox`).subarray(0, 512 * 1024));
    expect(synced.length).toBeGreaterThanOrEqual(3);
    for (const n of synced) expect(sha256(readFromImage(image, `/root/${n}`))).toBe(expected);
  });
});

suite("a disk", [KVM], () => {
  const first = makeBlank(files.path("first.img"), 1);

  async function refuses(
    disk: string,
    message: string,
    hint?: string,
    wrapper: string[] = [],
  ): Promise<void> {
    // Behind a good one: tsvm looks more closely at the disk that may be the guest's root.
    const result = await tsvm(["boot", guest, "--disk", `${first},ro`, "--disk", disk], {
      limit: 20_000 * SLOWNESS,
      wrapper,
    });
    const expected = `tsvm: disk ${message}\n${hint === undefined ? "" : `  → ${hint}\n`}`;
    expect(result).toMatchObject({ stdout: "", stderr: expected, status: 125 });
  }

  const PERMISSION_HINT = "boot it with --read-only, or change its permissions";
  const IN_USE = "in use by another program (another tsvm or QEMU)";

  test("that is missing", () => refuses("/nonexistent.img", "/nonexistent.img: no such file"));

  test("that is a directory", () =>
    refuses(files.directory, `${files.directory}: is a directory, not an image`));

  test("that is empty", async () => {
    const path = files.path("empty.img", "");
    await refuses(path, `${path}: is empty`, "give it a size first: truncate -s 1G FILE");
  });

  test("of an odd size", async () => {
    const path = makeBlank(files.path("odd.img"), 1);
    truncateSync(path, MiB + 1);
    await refuses(
      path,
      `${path}: its size of ${MiB + 1} bytes is not a multiple of the 512-byte sector`,
      `if it is a raw image, pad it: truncate -s %512 ${path}`,
    );
  });

  test("that is a character device", () =>
    refuses("/dev/null", "/dev/null: is neither a file nor a block device"));

  test("with a serial number that is too long", async () => {
    const path = makeBlank(files.path("serial.img"), 1);
    const refused = await tsvm(["boot", guest, "--disk", `${path},serial=${"x".repeat(21)}`]);
    expect(refused).toMatchObject({ stdout: "", status: 2 });
    expect(refused.stderr).toMatch(/^tsvm: --disk: serial: "x+" is not 1 to 20 printable ASCII characters\n/);
  });

  test("that is one too many", async () => {
    const disks = Array.from({ length: 15 }, (_, n) => ["-d", makeBlank(files.path(`disk${n}.img`), 1)]);
    const result = await tsvm(["boot", guest, ...disks.flat()]);
    expect(result).toMatchObject({
      status: 2,
      stdout: "",
      stderr: "tsvm: disks: 15 are more than the 14 that a machine takes\n",
    });
    expect(await tsvm(["boot", guest, ...disks.slice(1).flat()])).toMatchObject({ status: 0, stdout: "!" });
  });

  check("that this user may not write", [ROOT_USER, tool("setpriv", "util-linux")], async () => {
    const path = makeBlank(files.path("host-read-only.img"), 1);
    chmodSync(path, 0o444);
    // root would be let through: drop that right, and keep the one to open /dev/kvm, which root owns.
    const wrapper = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"];
    await refuses(path, `${path}: this host does not let you write to it`, PERMISSION_HINT, wrapper);
    const readable = await tsvm(["boot", guest, "--disk", path, "--read-only"], { wrapper });
    expect(readable).toMatchObject({ status: 0, stdout: "!", stderr: "" });
  });

  test("that another tsvm uses: one writer, or many readers", async () => {
    const path = makeBlank(files.path("shared.img"), 1);
    await whileHeld(startTsvm(["boot", spin, "--disk", path]), async () => {
      await refuses(path, `${path}: ${IN_USE}`, "stop that one first, or boot a copy of the image");
      await refuses(`${path},ro`, `${path}: ${IN_USE}`, "stop the one that writes to it first");
    });
    await whileHeld(startTsvm(["boot", spin, "--disk", `${path},ro`]), async () => {
      await refuses(path, `${path}: ${IN_USE}`, "stop that one first, or boot a copy of the image");
      expect(await tsvm(["boot", guest, "--disk", `${path},ro`])).toMatchObject({ status: 0, stdout: "!" });
    });
    // Both have been killed: nobody holds it any longer.
    expect(await tsvm(["boot", guest, "--disk", path])).toMatchObject({ status: 0, stdout: "!" });
  });

  test("that is given twice", async () => {
    const path = makeBlank(files.path("twice.img"), 1);
    const result = await tsvm(["boot", guest, "-d", path, "-d", path]);
    expect(result.status).toBe(125);
    expect(result.stderr).toContain(`tsvm: disk ${path}: `);
  });

  check("that tsvm uses is refused by QEMU, and the other way round", [QEMU_IO], async () => {
    const path = makeBlank(files.path("qemu.img"), 1);
    await whileHeld(startTsvm(["boot", spin, "--disk", path]), () => {
      const { status, stdout, stderr } = qemuIo(["-c", "write 0 512", path]);
      expect(status, stdout + stderr).toBe(1);
      expect(stderr).toMatch(/Failed to get .* lock/);
    });
    const holder = spawn(findTool("qemu-io")!, ["-f", "raw", path], { stdio: ["pipe", "pipe", "ignore"] });
    const stdout = collect(holder.stdout);
    try {
      holder.stdin.write("length\n");
      await until("qemu-io", () => stdout.text.includes("1 MiB"), { limit: 10_000 * SLOWNESS });
      await refuses(path, `${path}: ${IN_USE}`, "stop that one first, or boot a copy of the image");
      await refuses(`${path},ro`, `${path}: ${IN_USE}`, "stop the one that writes to it first");
    } finally {
      await kill(holder);
    }
  });

  function qemuIo(args: string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(findTool("qemu-io")!, ["-f", "raw", ...args], {
      encoding: "utf8",
      timeout: 10_000 * SLOWNESS,
    });
  }

  /** Does something while a machine has its disks, then kills it. */
  async function whileHeld(running: RunningTsvm, action: () => Promise<void> | void): Promise<void> {
    try {
      await until("tsvm to open its disks", () => hasImageOpen(running.pid!, files.directory), {
        limit: 20_000 * SLOWNESS,
      });
      // It locks them in the same breath.
      await new Promise((resolve) => setTimeout(resolve, 200 * SLOWNESS));
      expect(running.exitCode).toBe(null);
      await action();
    } finally {
      running.kill("SIGKILL");
      await running;
    }
  }

  async function kill(child: ChildProcess): Promise<void> {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
});

/** Whether process `pid` has an image below `directory` open. */
function hasImageOpen(pid: number, directory: string): boolean {
  const real = realpathSync(directory);
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      const path = readlinkSync(`/proc/${pid}/fd/${fd}`);
      return path.startsWith(`${real}/`) && path.endsWith(".img");
    } catch {
      return false; // closed meanwhile
    }
  });
}
