/** What tsvm says to input that it cannot use: the exit status, the message and the hint, word by word. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, truncateSync } from "node:fs";
import { totalmem } from "node:os";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { bundledFile } from "../src/images/bundled.ts";
import { KVM, MOUNT_NAMESPACE, check, suite, tool } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { ONE_BYTE_AND_RESET, pvhGuest } from "./support/tiny-guests.ts";
import { SLOWNESS, tsvm, type RunOptions } from "./support/tsvm.ts";

const files = scratch();
const guest = files.path("guest.elf", pvhGuest(ONE_BYTE_AND_RESET));

/** status 2: the command line makes no sense; 125: tsvm could not start the machine. */
async function refuses(
  args: string[],
  { status, message, hint }: { status: 2 | 125; message: string; hint?: string },
  options: RunOptions = {},
): Promise<void> {
  const result = await tsvm(["boot", ...args], { limit: 20_000 * SLOWNESS, ...options });
  const expected = `tsvm: ${message}\n${hint === undefined ? "" : `  → ${hint}\n`}`;
  expect(result).toMatchObject({ stdout: "", stderr: expected, status });
}

suite("a kernel file", [KVM], () => {
  const NOT_A_KERNEL = "is not a kernel that can be booted: it looks like";
  const X86_ONLY = "use a kernel built for x86-64: a bzImage (vmlinuz) or an ELF vmlinux";
  const COPY_AGAIN = "copy, download or build the file again";

  test("that is missing", () =>
    refuses(["/nonexistent/vmlinux"], {
      status: 125,
      message: "/nonexistent/vmlinux: no such file",
      hint: "check the path",
    }));

  test("that is missing is told each time without a crash, although tsvm's threads are only just starting", async () => {
    for (let i = 0; i < 15; i++) {
      const pair = await Promise.all([tsvm(["boot", "/nonexistent"]), tsvm(["boot", "-m", "x"])]);
      expect(pair.map(({ status, signal }) => ({ status, signal }))).toEqual([
        { status: 125, signal: undefined },
        { status: 2, signal: undefined },
      ]);
    }
  });

  test("that is a directory", () =>
    refuses(["-k", files.directory], {
      status: 125,
      message: `${files.directory}: is a directory`,
      hint: "name a file in it",
    }));

  test("that is a FIFO does not make tsvm wait for a writer", async () => {
    const fifo = files.path("fifo");
    execFileSync("mkfifo", [fifo]);
    await refuses(["-k", fifo], {
      status: 125,
      message: `${fifo}: is not a regular file`,
      hint: "copy its content into a file first",
    });
  });

  test.each([
    ["an empty file", new Uint8Array(0), "an empty file", "copy or download the file again"],
    [
      "text",
      "Dear kernel,\n",
      "a text file",
      "a bzImage (vmlinuz) or an ELF kernel (vmlinux) for x86-64 can be booted",
    ],
    [
      "a web page",
      "<!DOCTYPE html><title>404</title>",
      "an HTML page (a download that went wrong?)",
      "copy or download the file again",
    ],
    [
      "random bytes",
      Buffer.from("9f8e7d6c5b4a39281706f5e4d3c2b1a0", "hex"),
      "unknown data",
      "a bzImage (vmlinuz) or an ELF kernel (vmlinux) for x86-64 can be booted",
    ],
    ["an arm64 Image", at(0x38, "ARMd", 512), "an arm64 Linux Image", X86_ONLY],
    [
      "an ISO image",
      at(0x8001, "CD001", 0x9000),
      "an ISO 9660 image",
      "take the kernel (vmlinuz) and the initrd out of the image and boot those; the image can go with them as --disk",
    ],
    [
      "a qcow2 image",
      at(0, "QFI\xfb", 512),
      "a qcow2 disk image",
      "give a disk image as --disk, along with a kernel",
    ],
  ])("that is %s", async (name, content, looksLike, hint) => {
    const path = files.path(name.replaceAll(" ", "-"), content);
    await refuses(["--kernel", path], { status: 125, message: `${path} ${NOT_A_KERNEL} ${looksLike}`, hint });
  });

  test("that is compressed", async () => {
    const path = files.path("vmlinux.gz", gzipSync("kernel"));
    await refuses([path], {
      status: 125,
      message: `${path} ${NOT_A_KERNEL} a gzip file`,
      hint: `decompress it first (gzip -dc ${path} > kernel); if it is an initrd, give it as --initrd`,
    });
  });

  test("that is a program of this host", () =>
    refuses([process.execPath], {
      status: 125,
      message: `${process.execPath} is a program or library for an operating system, not a kernel`,
      hint: "to run it in a guest, put it on the guest's disk or into its initrd",
    }));

  test("that is a truncated vmlinux", async () => {
    const path = files.path("truncated-vmlinux");
    copyFileSync(bundledFile("vmlinux"), path);
    truncateSync(path, 1_000_000);
    const result = await tsvm(["boot", path]);
    expect(result).toMatchObject({ status: 125, stdout: "" });
    expect(result.stderr).toMatch(
      new RegExp(
        `^tsvm: ${path} is truncated: .* would end at byte \\d+, and the file has 1000000: \\d+ bytes are missing\n` +
          `  → ${COPY_AGAIN}\n$`,
      ),
    );
  });

  test("that is a vmlinux without its last byte is refused before anything runs", async () => {
    const path = files.path("almost.elf", pvhGuest(ONE_BYTE_AND_RESET).subarray(0, -1));
    const size = pvhGuest(ONE_BYTE_AND_RESET).length;
    await refuses([path], {
      status: 125,
      message: `${path} is truncated: segment 0 would end at byte ${size}, and the file has ${size - 1}: 1 bytes are missing`,
      hint: COPY_AGAIN,
    });
  });

  test("that is a truncated bzImage", async () => {
    const path = files.path("truncated-bzImage", bzImage().subarray(0, 5000));
    await refuses([path], {
      status: 125,
      message: `${path} is truncated: the kernel has 66560 bytes, and the file 5000: 61560 bytes are missing`,
      hint: COPY_AGAIN,
    });
  });

  test("that is a bzImage cut within its header", async () => {
    const path = files.path("stub-bzImage", bzImage().subarray(0, 0x220));
    await refuses([path], {
      status: 125,
      message: `${path} is truncated within the header of the kernel`,
      hint: COPY_AGAIN,
    });
  });

  test("that is a bzImage too large for the guest", async () => {
    const path = files.path("large-bzImage", bzImage());
    await refuses(["-m", "8M", path], {
      status: 125,
      message: `${path}: the kernel needs 1 MiB from 0x1000000 (16 MiB) on to start, and the guest has 8 MiB of memory`,
      hint: "give the guest at least 17 MiB (--memory)",
    });
  });

  test("with a segment that the guest's memory does not reach", async () => {
    const path = files.path("high.elf", elfAt(0x800_0000));
    await refuses(["-m", "64M", path], {
      status: 125,
      message: `${path}: segment 0 (${ONE_BYTE_AND_RESET.length} bytes at 0x8000000) does not fit into 64 MiB of guest memory`,
      hint: "give the guest at least 129 MiB (--memory)",
    });
  });

  test("with a segment that no guest's memory reaches", async () => {
    const path = files.path("outside.elf", elfAt(0xfee0_0000));
    await refuses([path], {
      status: 125,
      message: `${path}: segment 0 (${ONE_BYTE_AND_RESET.length} bytes at 0xfee00000) lies outside the guest's memory of 128 MiB`,
      hint: "link the kernel to a lower physical address",
    });
  });

  check("that this user may not read", [MOUNT_NAMESPACE, tool("setpriv", "util-linux")], async () => {
    const path = files.path("secret.elf", pvhGuest(ONE_BYTE_AND_RESET));
    execFileSync("chmod", ["600", path]);
    // Without the group's and the user's rights, but with a /dev/kvm that is open to everybody.
    await refuses(
      ["-k", path],
      { status: 125, message: `${path}: permission denied`, hint: `make it readable: chmod a+r ${path}` },
      { wrapper: withDevKvm("mknod -m 666 $dev/kvm c 10 232", asNobody) },
    );
  });
});

suite("an initrd", [KVM], () => {
  test("that is missing", () =>
    refuses([guest, "--initrd", "/nonexistent/initrd"], {
      status: 125,
      message: "/nonexistent/initrd: no such file",
      hint: "check the path",
    }));

  test("that is empty", async () => {
    const path = files.path("empty-initrd", "");
    await refuses([guest, "-i", path], {
      status: 125,
      message: `${path}: the initrd is empty`,
      hint: "leave it out, or make it again",
    });
  });

  test("that is larger than the guest's memory", async () => {
    const path = files.path("large-initrd", "");
    truncateSync(path, 100 * 2 ** 20);
    await refuses(["-m", "64M", guest, "-i", path], {
      status: 125,
      message:
        `${path}: initrd of 100 MiB does not fit into 64 MiB of guest memory: ` +
        "the kernel occupies everything from 1 MiB to 1 MiB",
      hint: "give the guest at least 102 MiB (--memory), and more for what the initrd unpacks to; or put its content on a disk",
    });
  });
});

suite("a machine", [KVM], () => {
  const hostMiB = Math.floor(totalmem() / 2 ** 20);

  test("with more memory than the host has", () =>
    refuses(["-m", `${hostMiB + 4096}M`, guest], {
      status: 2,
      message: `memory: ${hostMiB + 4096} MiB is more than the ${hostMiB} MiB of this host`,
      hint: "ask for less (--memory)",
    }));

  test("with no memory", () =>
    refuses(["-m", "0", guest], {
      status: 2,
      message: '--memory: "0" is less than 1 MiB',
      hint: "a Linux guest wants 64M or more",
    }));

  test("with half a page", () =>
    refuses(["-m", "4098K", guest], {
      status: 2,
      message: '--memory: "4098K" is not a multiple of the 4096-byte page',
      hint: "write whole MiB: 256M",
    }));

  test("with too little memory for the bundled Linux", async () => {
    const result = await tsvm(["boot", "-m", "8M"], { limit: 20_000 * SLOWNESS });
    expect(result).toMatchObject({ status: 125, stdout: "" });
    expect(result.stderr).toMatch(
      /^tsvm: .*: segment \d+ \(.* at 0x[0-9a-f]+\) does not fit into 8 MiB of guest memory\n {2}→ give the guest at least \d+ MiB \(--memory\)\n$/,
    );
  });

  test("without processors", () =>
    refuses(["-c", "0", guest], { status: 2, message: '--cpus: "0" is not a whole number of at least 1' }));

  test("with 1000 processors", async () => {
    const result = await tsvm(["boot", "-c", "1000", guest]);
    expect(result).toMatchObject({ status: 2, stdout: "" });
    expect(result.stderr).toMatch(
      /^tsvm: cpus: 1000 is more than this host's KVM allows\n {2}→ use at most \d+\n$/,
    );
  });

  test("with a kernel command line that is too long", async () => {
    const result = await tsvm(["boot", "-a", "x".repeat(5000), guest]);
    expect(result).toMatchObject({ status: 125, stdout: "" });
    expect(result.stderr).toMatch(/^tsvm: .*command line.*\d+.*\n/);
  });
});

suite("the command line", [], () => {
  /** Relative, so that the names of the tests stay the same. */
  const GUEST = "guest.elf";
  const SIZES = "write for example 256M or 2G";
  const TIMES = "write for example 30s, 5m or 500ms";

  test.each([
    [["-m", "lots", GUEST], '--memory: "lots" is not a size', SIZES],
    [["-m", "-1", GUEST], '--memory: "-1" is not a size', SIZES],
    [["-m", "1X", GUEST], '--memory: "1X" is not a size', SIZES],
    [["-m", "", GUEST], '--memory: "" is not a size', SIZES],
    [["-c", "two", GUEST], '--cpus: "two" is not a whole number of at least 1', undefined],
    [["-c", "-1", GUEST], '--cpus: "-1" is not a whole number of at least 1', undefined],
    [["-c", "1.5", GUEST], '--cpus: "1.5" is not a whole number of at least 1', undefined],
    [["-t", "soon", GUEST], '--timeout: "soon" is not a time', TIMES],
    [["-t", "0", GUEST], '--timeout: "0" is not a time', TIMES],
    [["-t", "99999h", GUEST], '--timeout: "99999h" is not a time', TIMES],
    [
      ["-d", "a,ro,", GUEST],
      '--disk: "a,ro," has a comma with no property behind it',
      "leave the comma out; a path cannot contain one",
    ],
    [["-d", "a,boot=1,boot=2", GUEST], '--disk: boot is there twice in "a,boot=1,boot=2"', "give it once"],
    [["-d", ",ro", GUEST], '--disk: ",ro" names no file', undefined],
    [
      ["-d", "a,rw", GUEST],
      '--disk: unknown property "rw"',
      "known are ro, overlay, ephemeral, format, serial, cache, boot, bps, bps-read, bps-write, iops, iops-read, iops-write",
    ],
    [["--console", "vga", GUEST], '--console: "vga" is not one of serial, virtio', undefined],
    [
      ["--huge-pages", "yes", GUEST],
      '--huge-pages: "yes" is not one of none, transparent, hugetlb',
      undefined,
    ],
    [["--"], "no command after --", "leave out -- for an interactive shell"],
    [[GUEST, "-k", "other"], `both ${GUEST} and --kernel other are kernels`, "give one of them"],
    [
      ["-i", GUEST, "--", "true"],
      "a command after -- needs tsvm's own init, which --initrd replaces",
      "give only one of them",
    ],
  ] as const)("%j", async (args, message, hint) => {
    await refuses(
      [...args],
      { status: 2, message, ...(hint === undefined ? {} : { hint }) },
      { cwd: files.directory },
    );
  });

  test.each([
    [["boot", "--frobnicate"], "tsvm: unknown option '--frobnicate'\n  → tsvm boot --help tells more\n"],
    [
      ["boot", "--memory"],
      "tsvm: option '-m, --memory <size>' argument missing\n  → tsvm boot --help tells more\n",
    ],
    [
      ["boot", "a", "b"],
      "tsvm: too many arguments for 'boot'. Expected 1 argument but got 2.\n  → tsvm boot --help tells more\n",
    ],
    [["frobnicate"], "tsvm: unknown command 'frobnicate'\n  → tsvm --help tells more\n"],
    [["image", "create"], "tsvm: missing required argument 'new'\n  → tsvm image create --help tells more\n"],
    [["image", "convrt"], "tsvm: unknown command 'convrt'\n  → did you mean convert?\n"],
    [["completion", "ksh"], 'tsvm: shell: "ksh" is not one of bash, zsh, fish\n'],
    [["image", "info", "a", "--format", "vdi"], 'tsvm: --format: "vdi" is not one of raw, qcow2\n'],
    [["help", "strat"], 'tsvm: help: there is no command "strat"\n  → did you mean start?\n'],
    [
      ["help", "image", "list"],
      /^tsvm: help: there is no command "image list"\n  → (did you mean ls|there are ls, )/,
    ],
  ])("%j", async (args, stderr) => {
    expect(await tsvm(args)).toMatchObject({ status: 2, stdout: "", stderr });
  });

  test("--help and --version", async () => {
    const help = await tsvm(["boot", "--help"]);
    expect(help).toMatchObject({ status: 0, stderr: "" });
    expect(help.stdout).toContain("Usage: tsvm boot [options] [FILE] [-- COMMAND...]");
    const version = await tsvm(["--version"]);
    expect(version).toMatchObject({ status: 0, stderr: "" });
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const bare = await tsvm([]);
    expect(bare.stdout + bare.stderr).toContain("Usage: tsvm");
  });

  test("--debug adds a stack trace, and nothing else does", async () => {
    const plain = await tsvm(["boot", "-c", "x"]);
    const debug = await tsvm(["boot", "-c", "x", "--debug"]);
    expect(plain.stderr).not.toMatch(/^\s+at /m);
    expect(debug.stderr).toMatch(/^\s+at parseCount \(src\/cli\/values\.ts:\d+:\d+\)$/m);
  });
});

suite("/dev/kvm", [MOUNT_NAMESPACE], () => {
  test("that does not exist", () =>
    refuses(
      [guest],
      {
        status: 125,
        message: "/dev/kvm does not exist: this host offers no KVM",
        hint:
          "switch virtualization on in the firmware setup and load the module (modprobe kvm-intel or kvm-amd); " +
          "in a cloud VM, ask for nested virtualization",
      },
      { wrapper: withDevKvm("true") },
    ));

  test("that is something else", () =>
    refuses(
      [guest],
      { status: 125, message: "/dev/kvm is not KVM", hint: "name the KVM device: /dev/kvm" },
      { wrapper: withDevKvm("mknod -m 666 $dev/kvm c 1 3") },
    ));

  check("that this user may not open", [tool("setpriv", "util-linux")], () =>
    refuses(
      [guest],
      {
        status: 125,
        message: "/dev/kvm: permission denied",
        hint: "add yourself to the group kvm (sudo usermod -aG kvm $USER) and log in again",
      },
      { wrapper: withDevKvm("mknod -m 600 $dev/kvm c 10 232", asNobody) },
    ),
  );

  check("is what doctor finds missing, with what to do", [], async () => {
    const result = await tsvm(["doctor"], { wrapper: withDevKvm("true") });
    expect(result).toMatchObject({ status: 1, stderr: "" });
    expect(result.stdout).toContain(
      "MISS  kvm     /dev/kvm does not exist: this host offers no KVM\n              → switch",
    );
    expect(result.stdout).toContain("\nThis host cannot boot guests yet.\n");
    const json = await tsvm(["doctor", "--json"], { wrapper: withDevKvm("true") });
    expect(json).toMatchObject({ status: 1, stderr: "" });
    expect(JSON.parse(json.stdout)).toMatchObject({ ready: false });
  });
});

const asNobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/** Runs the rest in a mount namespace whose /dev has no kvm but what `make` puts there as $dev/kvm. */
function withDevKvm(make: string, become = ""): string[] {
  const dev = files.path("dev");
  mkdirSync(dev, { recursive: true });
  const script = `set -e
    dev=${dev}
    mount -t tmpfs -o mode=755,dev tmpfs $dev
    for name in null zero full random urandom tty; do touch $dev/$name; mount --bind /dev/$name $dev/$name; done
    mkdir $dev/shm
    ${make}
    mount --rbind $dev /dev
    exec ${become} "$@"`;
  return ["unshare", "--mount", "sh", "-c", script, "sh"];
}

/** A file with a mark at some place. */
function at(offset: number, mark: string, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.write(mark, offset, "latin1");
  return bytes;
}

/** The headers of a bzImage of 66,560 bytes, loaded to 16 MiB, that wants 1 MiB. boot.rst. */
function bzImage(): Buffer {
  const file = Buffer.alloc(66_560);
  file[0x1f1] = 1; // setup_sects
  file.writeUInt32LE((file.length - 1024) / 16, 0x1f4); // syssize
  file.writeUInt16LE(0xaa55, 0x1fe);
  file.writeUInt16LE(0x66eb, 0x200); // jump behind the header
  file.write("HdrS", 0x202, "latin1");
  file.writeUInt16LE(0x020f, 0x206); // version
  file[0x211] = 1; // LOADED_HIGH
  file.writeUInt32LE(0x7fff_ffff, 0x22c); // initrd_addr_max
  file.writeUInt32LE(0x20_0000, 0x230); // kernel_alignment
  file[0x234] = 1; // relocatable
  file.writeUInt16LE(3, 0x236); // XLF_KERNEL_64, XLF_CAN_BE_LOADED_ABOVE_4G
  file.writeUInt32LE(2047, 0x238); // cmdline_size
  file.writeBigUInt64LE(0x100_0000n, 0x258); // pref_address
  file.writeUInt32LE(0x10_0000, 0x260); // init_size
  return file;
}

/** The tiny guest, linked to another address. */
function elfAt(address: number): Buffer {
  const file = pvhGuest(ONE_BYTE_AND_RESET);
  const FIRST_PROGRAM_HEADER = 64;
  const NOTE_DESCRIPTION = 64 + 2 * 56 + 16;
  file.writeBigUInt64LE(BigInt(address), 24);
  file.writeBigUInt64LE(BigInt(address), FIRST_PROGRAM_HEADER + 16);
  file.writeBigUInt64LE(BigInt(address), FIRST_PROGRAM_HEADER + 24);
  file.writeUInt32LE(address, NOTE_DESCRIPTION);
  return file;
}
