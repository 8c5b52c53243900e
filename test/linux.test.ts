/** The bundled Linux: commands and their status, streams, devices, and the ways a guest ends. Each boot takes seconds. */
import { expect, test } from "vitest";
import { cpioArchive } from "../src/boot/cpio.ts";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { sha256 } from "./support/sha256.ts";
import { printAndPowerOff } from "./support/static-program.ts";
import { finish, SLOWNESS, startTsvm, tsvm, tsvmJson, type RunResult } from "./support/tsvm.ts";

const MiB = 2 ** 20;
const files = scratch();

suite("a command in the bundled Linux", [KVM], () => {
  test("sees two processors, the disk, the entropy source and the time; its streams and status are tsvm's", async () => {
    // Builtins where possible: starting a program takes half a second on a software KVM.
    const script = `
      echo "to stderr" >&2
      while read -r a b; do [ "$a" = processor ] && echo "$a"; done </proc/cpuinfo
      read -r size </sys/block/vda/size && echo "vda $size"
      read -r serial </sys/block/vda/serial; echo "serial $serial"
      read -r rng </sys/class/misc/hw_random/rng_current && echo "rng $rng"
      echo "entropy $(cat /proc/sys/kernel/random/entropy_avail)"
      echo "arguments $# $1"
      echo "date $(date +%s)"
      head -c 64 /dev/hwrng | wc -c
      exit 7`;
    const argument = 'it\'s "quoted"; $HOME `x` \\ ä';
    const args = ["boot", "--cpus", "2", "--verbose", "-m", "64M", "--", "sh", "-c", script, "sh", argument];
    const result = await tsvm(args);
    const guestTime = Number(/^date (\d+)$/m.exec(result.stdout)?.[1]);
    expect(result.status).toBe(7);
    expect(result.stdout).toMatch(
      /^processor\nprocessor\nvda \d+\nserial tsvm-root\nrng virtio_rng\.0\nentropy \d+\narguments 1 .*\ndate \d+\n64\n$/,
    );
    expect(result.stdout).toContain(`\narguments 1 ${argument}\n`);
    expect(Number(/^entropy (\d+)$/m.exec(result.stdout)?.[1])).toBeGreaterThanOrEqual(128);
    // The guest's clock was read while it booted, and it ran its script until just before now.
    const now = Date.now() / 1000;
    expect(guestTime).toBeGreaterThan(now - 40);
    expect(guestTime).toBeLessThan(now + 5);

    expect(result.stderr).toContain("to stderr\n");
    const lines = result.stderr.slice(result.stderr.indexOf("tsvm: kernel command line: ")).split("\n");
    expect(lines[0]).toContain("console=ttyS0 reboot=k panic=-1 quiet");
    expect(lines[1]).toBe("tsvm: time since process start:");
    const moments = lines.slice(2, -2).map((line) => /^tsvm: {3}(\S.*?) +(\d+\.\d) ms$/.exec(line) ?? [line]);
    expect(moments.map(([, name]) => name)).toEqual([
      "start of the machine",
      "loaded",
      "first guest instruction",
      "first exit",
      "userland",
      "end",
    ]);
    const times = moments.map(([, , ms]) => Number(ms));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(lines.at(-2)).toMatch(
      /^tsvm: exits: \d+ port I\/O, \d+ MMIO, \d+ completed instructions, \d+ interrupted$/,
    );
  });

  test("takes 1 MiB on stdin and gives 8 MiB on stdout, unharmed", async () => {
    const input = Buffer.alloc(MiB);
    for (let at = 0, x = 1; at < input.length; at += 4) {
      x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
      input.writeUInt32LE(x, at);
    }
    const line = "0123456789abcde\n";
    const output = Buffer.alloc(8 * MiB, line);
    const script = `cat | sha256sum >&2; yes 0123456789abcde | head -c ${output.length}`;
    const result = await tsvm(["boot", "-m", "64M", "--", "sh", "-c", script], { input, limit: 120_000 });
    expect(result.stderr).toBe(`${sha256(input)}  -\n`);
    expect(result.stdoutBytes.length).toBe(output.length);
    expect(sha256(result.stdoutBytes)).toBe(sha256(output));
    expect(result.status).toBe(0);
  });

  test("and its input and output are in the --json report, which is complete", async () => {
    const args = [
      "boot",
      "-m",
      "64M",
      "--append",
      "made.up=1",
      "--",
      "sh",
      "-c",
      "cat; echo ä >&2; kill -9 $$",
    ];
    const { report, result } = await tsvmJson(args, { input: "from the host\n" });
    expect(result).toMatchObject({ status: 128 + 9, stderr: "" });
    expect(Object.keys(report)).toEqual([
      "status",
      "reason",
      "command",
      "panic",
      "powerButton",
      "error",
      "stdout",
      "stderr",
      "console",
      "commandLine",
      "millisecondsSinceProcessStart",
      "exits",
    ]);
    expect(report).toMatchObject({
      status: 137,
      reason: "command",
      command: { kind: "signaled", signal: 9 },
      panic: null,
      error: null,
      stdout: "from the host\n",
      stderr: "ä\n",
    });
    expect(report.commandLine).toContain(" made.up=1");
    const { start, loaded, firstGuestInstruction, firstExit, userland, end } =
      report.millisecondsSinceProcessStart;
    const moments = [start!, loaded!, firstGuestInstruction!, firstExit!, userland!, end!];
    expect(moments).toEqual(moments.toSorted((a, b) => a - b));
    expect(report.exits.io).toBeGreaterThan(0);
    expect(report.exits.mmio).toBeGreaterThan(0);
  });

  test("that cannot be run: 127 if it is not there, 126 if it is no program", async () => {
    const [missing, noProgram] = await Promise.all([
      tsvm(["boot", "-m", "64M", "--", "no-such-program"]),
      tsvm(["boot", "-m", "64M", "--", "/etc/passwd"]),
    ]);
    expect(missing).toMatchObject({ status: 127, stdout: "" });
    expect(missing.stderr).toMatch(/^tsvm: guest: no-such-program: .*\n$/);
    expect(noProgram).toMatchObject({ status: 126, stdout: "" });
    expect(noProgram.stderr).toMatch(/^tsvm: guest: \/etc\/passwd: .*\n$/);
  });

  test("that ends the guest itself: without a status of the command tsvm fails", async () => {
    const run = async (...command: string[]): Promise<RunResult> =>
      tsvm(["boot", "-m", "64M", "--", ...command]);
    const ends = await Promise.all([run("reboot", "-f"), run("poweroff", "-f")]);
    // Without ACPI a power-off is a reset through the keyboard controller (docs/guest.md).
    const stderr = "tsvm: the guest ended (reset) before the command did\n";
    for (const result of ends) expect(result).toMatchObject({ status: 125, stdout: "", stderr });
  });

  test("that asks init for the end gets it, with status 0", async () => {
    const [result, { report }] = await Promise.all([
      tsvm(["boot", "-m", "64M", "--", "sh", "-c", "poweroff; sleep 60"]),
      tsvmJson(["boot", "-m", "64M", "--", "sh", "-c", "halt -f; sleep 60"]),
    ]);
    expect(result).toMatchObject({ status: 0, stdout: "", stderr: "" });
    // halt -f stops the processors with interrupts off, and tsvm notices.
    expect(report).toMatchObject({ reason: "halt", command: null, panic: null, error: null });
  });

  test("that outlives --timeout", async () => {
    const result = await tsvm([
      "boot",
      "-m",
      "64M",
      "-t",
      "45s",
      "--",
      "sh",
      "-c",
      "echo started; sleep 300",
    ]);
    expect(result).toMatchObject({
      status: 124,
      stdout: "started\n",
      stderr: "tsvm: ended after 45 s, the --timeout\n",
    });
    expect(result.ms).toBeLessThan(80_000 * SLOWNESS);
  });
});

suite("the shell of the bundled Linux", [KVM], () => {
  test("takes a script on stdin and ends with it; its status is tsvm's", async () => {
    const result = await tsvm(["boot", "-m", "64M"], { input: "echo $((6 * 7))\n(exit 4)\n" });
    expect(result.stdout.replaceAll("\r", "")).toMatch(/^42$/m);
    expect(result).toMatchObject({ status: 4, stderr: "" });
  });

  test("ends tsvm when nobody reads its output any more", async () => {
    const running = startTsvm(["boot", "-m", "64M", "--", "yes"]);
    running.stdout.once("data", () => running.stdout.destroy());
    expect(await finish(running)).toMatchObject({ status: 128 + 13, stderr: "" });
  });
});

suite("a kernel", [KVM], () => {
  test("that is booting, or just has, at --timeout", async () => {
    const result = await tsvm(["boot", "-m", "64M", "-t", "1s", "--", "sleep", "100"]);
    expect(result).toMatchObject({
      status: 124,
      stdout: "",
      stderr: "tsvm: ended after 1 s, the --timeout\n",
    });
    expect(result.ms).toBeLessThan(5000 * SLOWNESS);
  });

  test("that panics: status 121 and the panic line on stderr", async () => {
    const result = await tsvm([
      "boot",
      "-m",
      "64M",
      "--append",
      "rdinit=/nonexistent root=/dev/none",
      "--",
      "true",
    ]);
    expect(result).toMatchObject({ status: 121, stdout: "" });
    expect(result.stderr).toMatch(
      /^tsvm: guest: Kernel panic - not syncing: VFS: Unable to mount root fs.*\n$/,
    );
  });

  test("with an initrd of one's own runs that one's init", async () => {
    const initrd = cpioArchive([
      { type: "directory", path: "dev" },
      { type: "char-device", path: "dev/console", major: 5, minor: 1 },
      { type: "file", path: "init", mode: 0o755, content: printAndPowerOff("Hello from the initrd\n") },
    ]);
    const result = await tsvm(["boot", "-m", "64M", "--initrd", files.path("initrd", initrd)]);
    expect(result.stdout.replaceAll("\r", "")).toContain("Hello from the initrd\n");
    expect(result).toMatchObject({ status: 0, stderr: "" });
  });

  test("whose init ends panics: status 121", async () => {
    const initrd = cpioArchive([
      { type: "directory", path: "dev" },
      { type: "char-device", path: "dev/console", major: 5, minor: 1 },
      { type: "file", path: "init", mode: 0o755, content: Buffer.from("#!/nonexistent\n") },
    ]);
    const { report } = await tsvmJson(["boot", "-m", "64M", "--initrd", files.path("bad-initrd", initrd)]);
    expect(report).toMatchObject({ status: 121, reason: "panic" });
    expect(report.panic).toMatch(/^Kernel panic - not syncing: /);
  });
});
