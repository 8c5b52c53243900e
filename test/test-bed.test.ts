/** The test bed itself, scripts/kvm-host. Each run is a machine that boots, so a run checks several things. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, expect, test } from "vitest";
import { suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { inTestBed, KVM_HOST, machinesOf, RunningTestBed, TEST_BED } from "./support/test-bed.ts";
import { until } from "./support/tsvm.ts";

/** The first run on a machine downloads and builds the test bed's system. */
const PREPARATION_LIMIT_MS = 600_000;

const files = scratch();

suite("the test bed", [TEST_BED], () => {
  const temporary = files.path("temporary");

  beforeAll(() => {
    mkdirSync(temporary);
    execFileSync(KVM_HOST, ["--prepare"], { stdio: ["ignore", "ignore", "inherit"] });
  }, PREPARATION_LIMIT_MS);

  afterEach(() => {
    expect(readdirSync(temporary)).toEqual([]);
    expect(machinesOf(temporary)).toEqual([]);
  });

  test("has hardware KVM, on which tsvm boots Linux", async () => {
    const script = `
      tsvm doctor
      tsvm boot --verbose -- uname -r
      echo "controllers $(cat /sys/fs/cgroup/cgroup.subtree_control)"
      stat -f -c 'cgroups %T' /sys/fs/cgroup
      echo "as $(id -u) in $PWD on $(hostname), $(nproc) processors, bed $TSVM_TEST_BED, $GREETING"`;
    const args = ["--cpus", "2", "--env", "GREETING=good day", "--timeout", "2m", "--", "sh", "-c", script];
    const { status, stdout, stderr } = await inTestBed(args, { temporary });
    expect(stdout).toMatch(/^ok {4}kvm {5}hardware virtualization \(VMX or SVM\)$/m);
    expect(stdout).toMatch(/^This host can boot guests\.$/m);
    expect(stdout).toMatch(/^6\.1\.\d+-tsvm$/m);
    expect(stderr).toMatch(/^tsvm: exits: .*, 0 completed instructions, /m);
    expect(stdout).toMatch(/^controllers .*\bcpu\b.*\bmemory\b.*\bpids\b/m);
    expect(stdout).toMatch(/^cgroups cgroup2fs$/m);
    expect(stdout).toMatch(/^as 0 in \/tsvm on test-bed, 2 processors, bed 1, good day$/m);
    expect(status).toBe(0);
  });

  test("carries streams, files and the status, and does not change the checkout", async () => {
    const directory = files.path("carried");
    mkdirSync(join(directory, "in"), { recursive: true });
    const bytes = randomBytes(300_000);
    writeFileSync(join(directory, "in/some file"), bytes);
    writeFileSync(join(directory, "table"), "one\n");
    const script = `
      cat                                    # stdin to stdout
      printf 'to stderr \\377' >&2
      sha256sum "/data/in/some file" >sums
      echo two >>/data/table
      rm package.json
      exit 7`;
    const run = await inTestBed(
      [
        ...["--in", `${directory}/in:/data/in`, "--in", `${directory}/table:/data/`],
        ...["--out", `/data/in:${directory}/out`, "--out", `/data/table:${directory}/new/table`],
        ...["--out", `sums:${directory}/sums`, "--out", `nothing:${directory}/nothing`],
        ...["--timeout", "1m", "--", "sh", "-c", script],
      ],
      { temporary, input: bytes },
    );
    expect(run.status).toBe(7);
    expect(Buffer.from(run.stdout, "latin1").equals(bytes)).toBe(true);
    expect(run.stderr).toBe("to stderr \ufffdkvm-host: --out nothing: not in the machine at the end\n");
    expect(readFileSync(join(directory, "out/some file")).equals(bytes)).toBe(true);
    expect(readFileSync(join(directory, "new/table"), "utf8")).toBe("one\ntwo\n");
    expect(readFileSync(join(directory, "table"), "utf8")).toBe("one\n");
    const sums = execFileSync("sha256sum", [join(directory, "in/some file")], { encoding: "utf8" });
    expect(readFileSync(join(directory, "sums"), "utf8").slice(0, 64)).toBe(sums.slice(0, 64));
    expect(readdirSync(directory).sort()).toEqual(["in", "new", "out", "sums", "table"]);
  });

  test("ends at its time limit with 124, while another goes on to where its command is killed", async () => {
    const [limited, killed] = await Promise.all([
      inTestBed(["--timeout", "5s", "--", "sleep", "100"], { temporary }),
      inTestBed(["--timeout", "1m", "--", "sh", "-c", "sleep 3; kill -SEGV $$"], { temporary }),
    ]);
    expect(limited).toMatchObject({
      status: 124,
      stdout: "",
      stderr: "kvm-host: ended after 5 s, the time limit (--timeout)\n",
    });
    expect(killed).toMatchObject({ status: 128 + 11, stdout: "" });
  });

  test("ends at once on Ctrl-C, and even a SIGKILL leaves nothing behind", async () => {
    const args = ["--timeout", "1m", "--", "sh", "-c", "echo begun; sleep 100"];
    const both = [new RunningTestBed(args, { temporary }), new RunningTestBed(args, { temporary })] as const;
    await until("both commands", () => both.every(({ stdout }) => stdout === "begun\n"));
    expect(machinesOf(temporary)).toHaveLength(2);
    expect(readdirSync(temporary)).toEqual([]);
    const start = performance.now();
    both[0].kill("SIGINT");
    both[1].kill("SIGKILL");
    expect(await both[0].end()).toMatchObject({ status: 130, stdout: "begun\n", stderr: "" });
    await both[1].end();
    await until("the end of the machines", () => machinesOf(temporary).length === 0);
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test("tells of its own failures with 125: a machine that dies, and an --out that is missing after a success", async () => {
    const crash = "echo begun; echo 0 >/proc/sys/kernel/panic_on_oops; echo c >/proc/sysrq-trigger";
    const [died, missing] = await Promise.all([
      inTestBed(["--timeout", "1m", "--", "sh", "-c", crash], { temporary }),
      inTestBed(["--timeout", "1m", "--out", "nothing", "--", "true"], { temporary }),
    ]);
    expect(died).toMatchObject({ status: 125, stdout: "begun\n" });
    expect(died.stderr).toMatch(/^kvm-host: the machine stopped before the command did\n/);
    expect(died.stderr).toContain("Kernel panic - not syncing: sysrq triggered crash");
    expect(missing).toMatchObject({
      status: 125,
      stdout: "",
      stderr: "kvm-host: --out nothing: not in the machine at the end\n",
    });
  });

  test.each([
    [["true"], '"true" is no option; the command comes after --'],
    [[], "which command? It comes after --"],
    [["--cpus", "0", "--", "true"], '--cpus takes 1 to 64, not "0"'],
    [["--memory", "1", "--", "true"], '--memory takes a size of 256M or more, such as 3G, not "1"'],
    [
      ["--timeout", "soon", "--", "true"],
      '--timeout takes a time up to 500h, such as 90s or 10m, not "soon"',
    ],
    [["--in", "a:b:c", "--", "true"], '--in takes one or two paths with a colon in between, not "a:b:c"'],
    [["--in", "/nonexistent", "--", "true"], "--in /nonexistent: no such file or directory"],
    [["--terminal", "--", "true"], "--terminal needs a terminal on standard input and output"],
  ])("refuses %j", async (args, message) => {
    const { status, stdout, stderr } = await inTestBed(args, { temporary });
    expect({ status, stdout }).toEqual({ status: 125, stdout: "" });
    expect(stderr.split("\n")[0]).toBe(`kvm-host: ${message}`);
  });
});
