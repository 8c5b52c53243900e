/** tsvm exec and tsvm cp, with VMs in the background. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { KVM, SCRIPT, check, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { CTRL_A, Terminal } from "./support/terminal.ts";
import { ENDLESS_LOOP } from "./support/tiny-guests.ts";
import { collect, finish, until } from "./support/tsvm.ts";
import { vms } from "./support/vms.ts";

const files = scratch();

suite("a VM with tsvm's init", [KVM], () => {
  const { run, start, env } = vms(files, files.path("linux"));
  let terminal: Terminal | undefined;
  beforeAll(async () => {
    expect(await run(["boot", "--detach", "--name", "web"])).toMatchObject({ status: 0 });
  });
  afterEach(async () => {
    await terminal?.close();
    terminal = undefined;
  });
  afterAll(async () => {
    await run(["rm", "--force", "web"]);
  });

  test("runs a command: streams, status, environment, directory, user", async () => {
    const script = 'echo "$A $PWD $(id -u)"; echo err >&2; cat; exit 5';
    // It waits for the guest, which was only just started.
    const result = await run(
      ["exec", "-e", "A=b c", "-w", "/etc", "-u", "1000:100", "web", "--", "sh", "-c", script],
      { input: "not for the command" },
    );
    expect(result).toMatchObject({ status: 5, stdout: "b c /etc 1000\n", stderr: "err\n" });
  });

  test("hands over standard input", async () => {
    const input = Buffer.alloc(200_000, "line of text\n");
    const { status, stdoutBytes } = await run(["exec", "-i", "web", "--", "cat"], { input });
    expect([status, stdoutBytes.equals(input)]).toEqual([0, true]);
  });

  test("ends as the command does, or says why there was none", async () => {
    expect(await run(["exec", "web", "--", "sh", "-c", "kill -9 $$"])).toMatchObject({ status: 137 });
    expect(await run(["exec", "--timeout", "1s", "web", "--", "sleep", "1000"])).toMatchObject({
      status: 124,
    });
    expect(await run(["exec", "web", "--", "/no/such"])).toMatchObject({
      status: 127,
      stderr: "tsvm: in the guest: /no/such: no such file or directory\n",
    });
    expect(await run(["exec", "web", "--", "/etc/passwd"])).toMatchObject({ status: 126 });
  });

  test("hands signals over, and ends the command at the second", async () => {
    const polite = start([
      "exec",
      "web",
      "--",
      "sh",
      "-c",
      "trap 'echo heard; exit 3' TERM; echo ready; while :; do usleep 100000; done",
    ]);
    const seen = collect(polite.stdout);
    await until("the command", () => seen.text === "ready\n");
    polite.kill("SIGTERM");
    expect(await finish(polite)).toMatchObject({ status: 3, stdout: "ready\nheard\n" });
    const stubborn = start(["exec", "web", "--", "sh", "-c", "trap '' INT; echo ready; sleep 1000"]);
    const other = collect(stubborn.stdout);
    await until("the command", () => other.text === "ready\n");
    stubborn.kill("SIGINT");
    await sleep(500); // two at once may count as one
    stubborn.kill("SIGINT");
    expect(await finish(stubborn)).toMatchObject({ status: 130 });
  });

  check("a shell on a terminal", [SCRIPT], async () => {
    terminal = new Terminal(["exec", "-it", "web", "--", "sh"], { env, rows: 31, columns: 99 });
    await terminal.see("# ");
    terminal.type("tty; stty size; echo $TERM\r");
    await terminal.see("/dev/pts/0\n31 99\nvt100\n");
    terminal.resize(40, 120);
    await terminal.see("# ");
    terminal.type("stty size\r");
    await terminal.see("40 120\n");
    terminal.type("exit 4\r");
    const { status, before, after } = await terminal.end();
    // But for the size, in the first line.
    const settings = (text: string): string => text.slice(text.indexOf("\n"));
    expect([status, settings(after)]).toEqual([4, settings(before)]);
  });

  check("Ctrl-A x leaves a command that goes on", [SCRIPT], async () => {
    terminal = new Terminal(["exec", "-it", "web", "--", "sh", "-c", "echo ready; sleep 1000"], { env });
    await terminal.see("ready\n");
    terminal.type(`${CTRL_A}x`);
    const { status, before, after } = await terminal.end();
    expect([status, after]).toEqual([129, before]);
    const look = "for i in 1 2 3 4 5 6 7 8 9; do pidof sleep >/dev/null || exit 0; sleep 1; done; exit 1";
    expect(await run(["exec", "web", "--", "sh", "-c", look])).toMatchObject({ status: 0 });
  });

  test("copies a tree in and out, and says what it could not copy", async () => {
    mkdirSync(files.path("tree/sub"), { recursive: true });
    files.path("tree/sub/file", "content");
    expect(await run(["cp", "--owner", "1000", files.path("tree"), "web:/tmp/"])).toMatchObject({
      status: 0,
      stderr: "",
    });
    const look = await run(["exec", "web", "--", "stat", "-c", "%u %s", "/tmp/tree/sub/file"]);
    expect(look.stdout).toBe("1000 7\n");
    expect(await run(["cp", "web:/tmp/tree/.", files.path("back")])).toMatchObject({ status: 0, stderr: "" });
    expect(readFileSync(files.path("back/sub/file"), "utf8")).toBe("content");
    mkdirSync(files.path("blocked/sub/file"), { recursive: true });
    expect(await run(["cp", "web:/tmp/tree/.", files.path("blocked")])).toMatchObject({
      status: 1,
      stderr: `tsvm: ${files.path("blocked/sub/file")}: EISDIR\n`,
    });
    expect(await run(["cp", "web:/no/such", files.path("back")])).toMatchObject({
      status: 125,
      stderr: "tsvm: in the guest: /no/such: no such file or directory\n",
    });
    expect(await run(["cp", files.path("missing"), "web:/tmp"])).toMatchObject({ status: 125 });
  });

  test("is shut down in good order by stop", async () => {
    expect(await run(["stop", "web"])).toMatchObject({ status: 0 });
    expect((await run(["inspect", "--format", "{{.exit.reason}}", "web"])).stdout).toBe("command\n");
    expect(await run(["exec", "web", "--", "true"])).toMatchObject({
      status: 125,
      stderr: "tsvm: web is not running\n  → tsvm start web starts it\n",
    });
  });
});

suite("VMs that have no agent", [KVM], () => {
  const { run, define, clear, state, monitors } = vms(files, files.path("tiny"));
  afterAll(clear);
  const sockets = (): string[] =>
    (existsSync(join(state, "run")) ? readdirSync(join(state, "run")) : []).filter((name) =>
      name.endsWith(".vsock"),
    );

  test("say so", async () => {
    await define({ none: { code: ENDLESS_LOOP, agent: false } });
    await run(["start", "none"]);
    expect(await run(["exec", "none", "--", "true"])).toMatchObject({
      status: 125,
      stderr:
        "tsvm: none has no way into its guest\n  → its definition says agent: false, or it was started by an older tsvm\n",
    });
    expect(sockets()).toEqual([]);
    await run(["pause", "none"]);
    expect((await run(["exec", "none", "--", "true"])).stderr).toContain("none is paused");
  });

  test("the socket goes with the VM, whatever becomes of its monitor", async () => {
    await define({ dies: { code: ENDLESS_LOOP }, stops: { code: ENDLESS_LOOP } });
    await run(["start", "dies", "stops"]);
    expect(sockets().length).toBe(2);
    await run(["kill", "stops"]);
    expect(sockets().length).toBe(1);
    for (const pid of monitors()) process.kill(pid, "SIGKILL");
    await until("the end of the monitors", () => monitors().length === 0);
    await run(["start", "dies"]);
    expect(sockets().length).toBe(1);
    for (const pid of monitors()) process.kill(pid, "SIGKILL");
    await run(["rm", "--force", "dies"]);
    expect(sockets()).toEqual([]);
  });

  test("usage errors", async () => {
    writeFileSync(files.path("a"), "");
    const cases: [string[], string][] = [
      [["exec", "none"], "there is no command"],
      [["exec", "-it", "none", "--", "sh"], "-i and -t: our input or output is no terminal"],
      [["exec", "-e", "=x", "none", "--", "sh"], '-e: "=x" is no NAME=VALUE'],
      [["exec", "--timeout", "soon", "none", "--", "sh"], "--timeout"],
      [["cp", "a", "b"], "neither is in a VM"],
      [["cp", "x:/a", "y:/b"], "both are in VMs"],
      [["cp", "x:", "."], "x:: names no path in the VM"],
      [["cp", "-p", "x:/a", "."], "--parents and --owner are for copies into a guest"],
    ];
    for (const [args, message] of cases) {
      const { status, stderr } = await run(args);
      expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
    }
    expect(await run(["exec", "nobody", "--", "true"])).toMatchObject({ status: 125 });
  });
});
