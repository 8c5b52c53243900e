/** Definition files from the command line: booted, checked, converted. What is printed, word by word. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { ONE_BYTE_AND_RESET, pvhGuest } from "./support/tiny-guests.ts";
import { tsvm } from "./support/tsvm.ts";

const files = scratch();
const run = (args: string[], input?: string): ReturnType<typeof tsvm> =>
  tsvm(args, { cwd: files.directory, ...(input === undefined ? {} : { input }) });
files.path("guest.elf", pvhGuest(ONE_BYTE_AND_RESET));
files.path("guest.yaml", "version: 1\nmemory: 16M\nkernel: ${KERNEL:-guest.elf}\n");
files.path(
  "two.yaml",
  "version: 1\nvms:\n  db: { kernel: guest.elf }\n  web: { kernel: guest.elf, dependsOn: [db] }\n",
);
files.path("bad.yaml", "version: 1\nmemroy: 1G\ncpus: two\n");
files.path(
  "guest.json",
  '{"boot-source": {"kernel_image_path": "guest.elf"}, "machine-config": {"vcpu_count": 1, "mem_size_mib": 16}}\n',
);
files.path(
  "guest.xml",
  "<domain type='kvm'><name>g</name><memory unit='MiB'>16</memory><os><type>hvm</type><kernel>guest.elf</kernel></os>" +
    "<features><acpi/></features><devices><graphics type='vnc'/></devices></domain>\n",
);

suite("tsvm boot", [KVM], () => {
  test.each([
    [["guest.yaml"], ""],
    [["guest.json"], ""],
    [["two.yaml", "--vm", "db"], ""],
    [["two.yaml", "--vm", "web"], "tsvm: web depends on db: tsvm boot starts web alone\n"],
  ])("%j", async (args, stderr) => {
    const { status, stdout, stderr: said } = await run(["boot", ...args]);
    expect({ status, bytes: stdout.length, said }).toEqual({ status: 0, bytes: 1, said: stderr });
  });

  test("guest.xml, with a warning", async () => {
    const { status, stdout, stderr } = await run(["boot", "guest.xml"]);
    expect({ status, bytes: stdout.length }).toEqual({ status: 0, bytes: 1 });
    expect(stderr).toMatch(
      /^guest\.xml:1:\d+: warning: <graphics type="vnc">: left out, as tsvm has no screen\n/,
    );
  });

  test("flags say more than the file", async () => {
    const { status, stderr } = await run(["boot", "guest.yaml", "-m", "64K"]);
    expect(status).toBe(2);
    expect(stderr).toBe('tsvm: --memory: "64K" is less than 1 MiB\n  → a Linux guest wants 64M or more\n');
  });

  test("variables come from the environment", async () => {
    const result = await tsvm(["boot", "guest.yaml"], { cwd: files.directory, env: { KERNEL: "nosuch" } });
    expect(result).toMatchObject({
      status: 125,
      stderr: `tsvm: ${files.path("nosuch")}: no such file\n  → check the path\n`,
    });
  });
});

suite("a definition that tsvm cannot boot", [], () => {
  test.each([
    [["two.yaml"], 2, "two.yaml has 2 VMs: db, web\n  → name one of them: --vm db\n"],
    [["two.yaml", "--vm", "wbe"], 2, "two.yaml has no VM wbe\n  → did you mean web?\n"],
    [
      ["guest.elf", "--vm", "web"],
      2,
      "--vm: there is no definition file\n  → tsvm boot web.yaml --vm NAME\n",
    ],
    [["nosuch.yaml"], 125, "nosuch.yaml: no such file\n  → check the path\n"],
    [
      ["bad.yaml"],
      125,
      'bad.yaml: 2 errors\nbad.yaml:2:1: unknown key "memroy"\n   2 | memroy: 1G\n     | ^^^^^^\n  → did you mean memory?\n' +
        'bad.yaml:3:7: cpus: "two" must be a whole number of at least 1\n   3 | cpus: two\n     |       ^^^\n',
    ],
  ])("%j", async (args, status, said) => {
    expect(await run(["boot", ...args])).toMatchObject({ status, stdout: "", stderr: `tsvm: ${said}` });
  });
});

suite("tsvm define", [], () => {
  test("--check says what is in a good file, and all that is wrong in a bad one", async () => {
    const { status, stdout, stderr } = await run(["define", "--check", "guest.yaml", "bad.yaml", "two.yaml"]);
    expect(status).toBe(1);
    expect(stdout).toBe("guest.yaml: 1 VM: guest\ntwo.yaml: 2 VMs: db, web\n");
    expect(stderr.split("\n").filter((line) => line.startsWith("bad.yaml"))).toHaveLength(2);
  });

  test("--check --json", async () => {
    const { status, stdout } = await run(["define", "--check", "--json", "bad.yaml"]);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      files: [
        {
          path: "bad.yaml",
          ok: false,
          vms: [],
          problems: [
            {
              severity: "error",
              message: 'unknown key "memroy"',
              hint: "did you mean memory?",
              file: "bad.yaml",
              line: 2,
              column: 1,
              element: "memroy",
            },
            { line: 3, column: 7, element: "cpus" },
          ],
        },
      ],
    });
  });

  test("--check warns of files that are not there, and reads standard input", async () => {
    const { status, stdout, stderr } = await run(
      ["define", "--check", "-"],
      "version: 1\nname: a\nkernel: nosuch\n",
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: "-: 1 VM: a\n" });
    expect(stderr).toBe(
      `-:3:9: warning: kernel: there is no file ${files.path("nosuch")}\n   3 | kernel: nosuch\n     |         ^^^^^^\n`,
    );
  });

  test("--schema", async () => {
    const { status, stdout } = await run(["define", "--schema"]);
    expect(status).toBe(0);
    expect(stdout).toBe(readFileSync(new URL("../schema/tsvm.schema.json", import.meta.url), "utf8"));
  });

  test("without a file", async () => {
    expect(await run(["define", "--check"])).toMatchObject({
      status: 2,
      stderr: "tsvm: no file to define\n  → tsvm define --check web.yaml\n",
    });
  });
});

suite("tsvm convert", [], () => {
  test("goes round all formats", async () => {
    for (const [from, to] of [
      ["guest.xml", "one.yaml"],
      ["one.yaml", "one.xml"],
      ["one.xml", "two.json"],
    ] as const) {
      expect(await run(["convert", from, to])).toMatchObject({ status: 0, stdout: "" });
    }
    const { stdout } = await run(["convert", "two.json", "-"]);
    expect(stdout).toBe(`version: 1\nname: g\ncpus: 1\nmemory: 16M\nkernel: ${files.path("guest.elf")}\n`);
    expect(await run(["convert", "two.json", "fire.json", "--to", "firecracker"])).toMatchObject({
      status: 0,
    });
    expect(JSON.parse(readFileSync(files.path("fire.json"), "utf8"))).toMatchObject({
      "boot-source": { kernel_image_path: files.path("guest.elf") },
      "machine-config": { mem_size_mib: 16 },
    });
  });

  test.each([
    [["guest.yaml", "guest.xml"], 2, "guest.xml exists\n  → --force overwrites it\n"],
    [
      ["guest.yaml", "x.conf"],
      2,
      "x.conf: its ending does not tell the format\n  → give it: --to yaml|json|libvirt|firecracker\n",
    ],
    [["guest.yaml", "-", "--to", "toml"], 2, '--to: "toml" is not one of yaml, json, libvirt, firecracker\n'],
    [["two.yaml", "x.xml"], 2, "two.yaml has 2 VMs: db, web\n  → name one of them: --vm db\n"],
    [["nosuch.yaml", "x.xml"], 125, "nosuch.yaml: no such file\n  → check the path\n"],
    [["guest.yaml", "nosuch/x.yaml"], 125, "nosuch/x.yaml: cannot be written: no such file or directory\n"],
    [
      ["two.yaml", "x.json", "--to", "firecracker", "--vm", "web"],
      125,
      "two.yaml: dependsOn: Firecracker's configuration has no words for it\n  → --lenient goes on without it\n",
    ],
  ])("%j", async (args, status, said) => {
    expect(await run(["convert", ...args])).toMatchObject({ status, stdout: "", stderr: `tsvm: ${said}` });
    expect(existsSync(files.path("x.xml"))).toBe(false);
  });

  test("leaves nothing half-written", () => {
    const left = execFileSync("ls", [files.directory], { encoding: "utf8" });
    expect(left).not.toContain(".new");
  });
});
