/** A whole Debian with systemd, made by scripts/build-debian-image, on hardware KVM. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { suite } from "../support/needs.ts";
import { ROOT } from "../support/paths.ts";
import { scratch } from "../support/scratch.ts";
import { inTestBedAgain, TEST_BED } from "../support/test-bed.ts";

const LIMIT_MS = 1_800_000;
const PASSWORD = "a test";

interface Result {
  inside: { loginMs: number; failed: string; facts: string; status: number; stderr: string };
  outside: { status: number; stderr: string };
  afterInside: { status: number; output: string };
  afterOutside: { status: number; output: string };
}

suite("a Debian system", [TEST_BED], () => {
  const files = scratch();
  let result: Result;
  let console: string;

  beforeAll(async () => {
    const image = files.path("debian.img");
    const build = ["--root-password", PASSWORD, image];
    execFileSync(join(ROOT, "scripts/build-debian-image"), build, { stdio: ["ignore", "ignore", "pipe"] });
    const root = linuxPartition(image);
    const session = [
      "node",
      "test/support/debian-session.mjs",
      "/guest/debian.img",
      root,
      PASSWORD,
      "/results",
    ];
    const run = await inTestBedAgain(
      [
        ...[
          "--in",
          `${image}:/guest/debian.img`,
          "--out",
          `/results:${files.path("results")}`,
          "--memory",
          "4G",
          "--timeout",
          "14m",
        ],
        ...["--", "sh", "-c", 'mkdir /results && exec "$@"', "sh", ...session],
      ],
      { temporary: files.directory },
    );
    if (run.status !== 0) throw new Error(`kvm-host ended with ${run.status}\n${run.stdout}\n${run.stderr}`);
    const read = (name: string): string => readFileSync(join(files.path("results"), name), "utf8");
    result = JSON.parse(read("result.json")) as Result;
    console = read("inside.log");
    process.stderr.write(`login after ${(result.inside.loginMs / 1000).toFixed(0)} s in the test bed\n`);
  }, LIMIT_MS);

  test("comes to its login, and systemd reports no failed unit", () => {
    // Nothing in between: the list of failed units is empty.
    expect(result.inside.failed).toMatch(/running\r?\nfailed listed/);
    expect(console).not.toMatch(/\[FAILED\]|Failed to start/);
  });

  test("sees its processors and its root", () => {
    expect(result.inside.facts).toMatch(/^2\r?$/m);
    expect(result.inside.facts).toMatch(/\/dev\/vda\d+ +ext4/);
  });

  test("powers off from inside, and its file system is clean", () => {
    expect(result.inside).toMatchObject({ status: 0, stderr: "" });
    expect(result.afterInside, result.afterInside.output).toMatchObject({ status: 0 });
  });

  test("shuts down at tsvm's power button, and its file system is clean", () => {
    expect(result.outside.status).toBe(0);
    expect(result.outside.stderr).toMatch(/^tsvm: pressed the guest's power button; [^\n]*\n$/);
    expect(result.afterOutside, result.afterOutside.output).toMatchObject({ status: 0 });
  });
});

/** The number of the image's one Linux partition. */
function linuxPartition(image: string): string {
  const table = JSON.parse(execFileSync("sfdisk", ["--json", image], { encoding: "utf8" })) as {
    partitiontable: { partitions: { node: string; type: string }[] };
  };
  // Linux file system data, or root of x86-64.
  const types = ["0FC63DAF-8483-4772-8E79-3D69D8477DE4", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"];
  const partition = table.partitiontable.partitions.find(({ type }) => types.includes(type));
  return /\d+$/.exec(partition!.node)![0];
}
