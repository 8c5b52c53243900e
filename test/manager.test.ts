/** VMs in the background: their life, as commands show it. */
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { parseExposition } from "../src/manager/testing/parse-exposition.ts";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import {
  DECLINES_POWER_BUTTON,
  IDLE,
  OBEYS_POWER_BUTTON,
  ONE_BYTE_AND_TRIPLE_FAULT,
  printAndReset,
  printThen,
  pvhGuest,
  REBOOTS,
} from "./support/tiny-guests.ts";
import { finish, until } from "./support/tsvm.ts";
import { vms } from "./support/vms.ts";

const files = scratch();
const manager = vms(files);
const { run } = manager;

afterEach(() => manager.clear());

interface Row {
  name: string;
  state: string;
  pid: number | null;
  restarts: number;
  exit: { reason: string; status: number; message?: string } | null;
}

async function list(): Promise<Record<string, Row>> {
  const { stdout, status } = await run(["ps", "--all", "--json"]);
  expect(status).toBe(0);
  return Object.fromEntries((JSON.parse(stdout) as Row[]).map((row) => [row.name, row]));
}

async function events(): Promise<string[]> {
  const { stdout } = await run(["events", "--no-follow", "--format", "{{.vm}} {{.event}} {{.reason}}"]);
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.trimEnd());
}

suite("a VM in the background", [KVM], () => {
  test("is defined, runs, is listed, stopped and removed", async () => {
    const file = manager.file("web.json", {
      web: { code: IDLE, title: "A web server", labels: { tier: "front" } },
    });
    expect(await run(["define", file])).toMatchObject({ status: 0, stdout: "web: defined\n", stderr: "" });
    expect(await run(["define", file])).toMatchObject({ status: 0, stdout: "web: unchanged\n", stderr: "" });
    expect((await run(["ps"])).stdout).toBe("NAME  STATE  SINCE  EXIT  RESTARTS  CPUS  MEMORY  TITLE\n");
    expect((await run(["ps", "-a", "--format", "{{.name}} {{.state}} {{.memory}}"])).stdout).toBe(
      "web defined 16777216\n",
    );

    expect(await run(["start", "web"])).toMatchObject({ status: 0, stdout: "web\n", stderr: "" });
    const { web } = await list();
    expect(web).toMatchObject({ state: "running", restarts: 0, exit: null, title: "A web server" });
    expect(manager.monitors()).toEqual([web!.pid]);
    expect((await run(["ps"])).stdout).toMatch(
      /^NAME  STATE    SINCE  EXIT  RESTARTS  CPUS  MEMORY  TITLE\nweb   running  \ds +0     1  16 MiB  A web server\n$/,
    );
    for (const [filter, shown] of [
      ["state=running", "web\n"],
      ["state=stopped", ""],
      ["name=w*b", "web\n"],
      ["label=tier=front", "web\n"],
      ["label=tier=back", ""],
    ] as const) {
      expect((await run(["ps", "-q", "--filter", filter])).stdout).toBe(shown);
    }

    expect(await run(["stop", "web"])).toMatchObject({
      status: 0,
      stdout: "web\n",
      stderr: "tsvm: web: forced off: the guest knows of no power button\n",
    });
    expect(manager.monitors()).toEqual([]);
    expect((await list()).web).toMatchObject({
      state: "stopped",
      pid: null,
      exit: { reason: "forced", status: 137 },
    });
    expect(await run(["wait", "web"])).toMatchObject({
      status: 0,
      stdout: "137\n",
      stderr: "tsvm: web: forced off: the guest knows of no power button\n",
    });
    expect(await run(["rm", "web"])).toMatchObject({ status: 0, stdout: "web\n", stderr: "" });
    expect(await list()).toEqual({});
    expect(readdirSync(join(manager.state, "vms"))).toEqual([]);
    expect(readdirSync(join(manager.state, "run"))).toEqual([]);
    expect(await events()).toEqual([
      ...["web define", "web start", "web running", "web stopping", "web exit forced", "web remove"],
    ]);
  });

  test("shows the ports that lead to it, where there are any", async () => {
    const networks = [{ type: "user", forwards: ["8080:80", "[::1]:5353:53/udp"] }];
    await run(["define", manager.file("ports.json", { web: { code: IDLE, networks }, db: { code: IDLE } })]);
    const ports = await run(["ps", "-a", "--format", "{{.name}} {{.ports}}"]);
    expect(ports.stdout).toBe('db []\nweb ["8080:80","[::1]:5353:53/udp"]\n');
    expect((await run(["ps", "-a"])).stdout).toMatch(
      / PORTS +TITLE\ndb .*\nweb .* 8080:80, \[::1\]:5353:53\/udp\n$/,
    );
    expect((await run(["ps", "-a", "--filter", "name=db"])).stdout).not.toContain("PORTS");
  });

  test("has nothing to do with the process that started it", async () => {
    await manager.define({ web: { code: IDLE } });
    // A shell that holds a lock file, and whose whole session is then killed.
    const lock = files.path("held.lock", "");
    const { stdout, status } = await run(["start", "web"], {
      wrapper: ["setsid", "sh", "-c", `exec 7>${lock}; "$@"; echo "status $?"; kill -KILL -$$`, "sh"],
    });
    expect({ stdout, status }).toEqual({ stdout: "web\nstatus 0\n", status: undefined });
    const { web } = await list();
    expect(web!.state).toBe("running");
    const descriptors = readdirSync(`/proc/${web!.pid}/fd`).map((fd) =>
      readlinkSync(`/proc/${web!.pid}/fd/${fd}`),
    );
    expect(descriptors).not.toContain(lock);
    expect(descriptors[0]).toBe("/dev/null");
    // Of a session of its own, without a terminal, and in no directory that somebody might want to unmount.
    const [, , , session] = readFileSync(`/proc/${web!.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    expect(Number(session)).toBe(web!.pid);
    expect(readlinkSync(`/proc/${web!.pid}/cwd`)).toBe("/");
  });

  test("shuts down by its power button, or is forced off after the time limit", async () => {
    await manager.define({ good: { code: OBEYS_POWER_BUTTON }, bad: { code: DECLINES_POWER_BUTTON } });
    await run(["start", "good", "bad"]);
    await until("the guests", () => ["good", "bad"].every((name) => log(name).includes('"c","r')));
    const stopped = await run(["stop", "--timeout", "1s", "good", "bad"]);
    expect(stopped.stdout.split("\n").sort()).toEqual(["", "bad", "good"]);
    expect(stopped.stderr).toBe(
      "tsvm: bad: forced off: the guest was still there 1 s after its power button\n",
    );
    const { good, bad } = await list();
    expect(good!.exit).toMatchObject({ reason: "shutdown", status: 0, powerButton: "noticed" });
    expect(bad!.exit).toMatchObject({ reason: "forced", status: 137 });
    expect(await run(["start", "bad"])).toMatchObject({ status: 0 });
    expect(await run(["kill", "bad"])).toMatchObject({ status: 0, stdout: "bad\n" });
    expect((await list()).bad!.exit).toMatchObject({ reason: "killed", status: 137 });
  });

  test("stands still while it is paused", async () => {
    await manager.define({ web: { code: OBEYS_POWER_BUTTON } });
    await run(["start", "web"]);
    await until("the guest", () => log("web").includes('"c","r'));
    expect(await run(["pause", "web"])).toMatchObject({ status: 0, stdout: "web\n" });
    expect((await list()).web!.state).toBe("paused");
    const [before, after] = [await cpuTime("web"), await cpuTime("web")];
    // Answering questions takes some, the guest's endless loop would take all.
    expect(after - before).toBeLessThan(200);
    expect(await run(["pause", "web"])).toMatchObject({
      status: 125,
      stderr: "tsvm: web is paused already\n",
    });
    expect(await run(["resume", "web"])).toMatchObject({ status: 0, stdout: "web\n" });
    expect(await run(["resume", "web"])).toMatchObject({
      status: 125,
      stderr: "tsvm: web is running already\n",
    });
    await run(["pause", "web"]);
    // A guest that stands still could not shut down.
    expect(await run(["stop", "web"])).toMatchObject({ status: 0, stderr: "" });
    expect((await list()).web!.exit).toMatchObject({ reason: "shutdown", status: 0 });
    expect(await events()).toEqual(expect.arrayContaining(["web paused", "web resumed"]));
  });

  test("is started again by its restart policy, up to the limit", async () => {
    await manager.define({
      crash: { code: ONE_BYTE_AND_TRIPLE_FAULT, restart: "on-failure:2" },
      well: { code: printAndReset("."), restart: "on-failure" },
      again: { code: printAndReset("."), restart: "always" },
    });
    await run(["start", "crash", "well", "again"]);
    expect(await run(["wait", "crash", "well"])).toMatchObject({ stdout: "122\n0\n" });
    await until("a restart", () => log("again").split("running").length > 2);
    const { crash, well, again } = await list();
    expect(crash).toMatchObject({
      state: "stopped",
      restarts: 2,
      exit: { reason: "triple-fault", status: 122 },
    });
    expect(well).toMatchObject({ state: "stopped", restarts: 0, exit: { reason: "reset", status: 0 } });
    expect(again!.restarts).toBeGreaterThan(0);
    // Also while it waits to be started again.
    expect(await run(["stop", "again"])).toMatchObject({ status: 0, stdout: "again\n" });
    expect((await list()).again!.state).toBe("stopped");
    expect(await run(["start", "--autostart"])).toMatchObject({ status: 0, stdout: "again\n" });
  });

  test("boots again where its guest resets to do so", async () => {
    await manager.define({ web: { code: REBOOTS } });
    await run(["start", "web"]);
    await until("the second boot", () => log("web").split('"c","r').length > 2);
    const { web } = await list();
    expect(web!.restarts).toBe(0);
    expect(["running", "restarting", "starting"]).toContain(web!.state);
    expect(await run(["stop", "-t", "0", "web"])).toMatchObject({ status: 0 });
  });

  test("keeps a log, which can be followed", async () => {
    await manager.define({
      web: { code: printAndReset("one\ntwo\nthree\n") },
      idle: { code: printThen("up\nprompt> ", IDLE) },
    });
    await run(["start", "web", "idle"]);
    await run(["wait", "web"]);
    expect(await run(["logs", "web"])).toMatchObject({
      stdout: "one\ntwo\nthree\n",
      stderr: "[tsvm: start]\n[tsvm: running]\n[tsvm: ended by a reset]\n",
    });
    expect(await run(["logs", "--no-events", "--tail", "2", "web"])).toMatchObject({
      stdout: "two\nthree\n",
      stderr: "",
    });
    expect((await run(["logs", "--no-events", "--tail", "0", "web"])).stdout).toBe("");
    expect((await run(["logs", "--no-events", "--since", "1h", "web"])).stdout).toBe("one\ntwo\nthree\n");
    expect((await run(["logs", "--no-events", "--until", "1h", "web"])).stdout).toBe("");
    expect((await run(["logs", "-t", "--no-events", "--tail", "1", "web"])).stdout).toMatch(
      /^\d{4}-\S+Z three\n$/,
    );
    const lines = (await run(["logs", "--json", "--no-events", "web"])).stdout.trimEnd().split("\n");
    expect(JSON.parse(lines[0]!)).toMatchObject({ stream: "console", text: "one\n" });

    const following = manager.start(["logs", "--follow", "--no-events", "idle"]);
    await until("the log", () => log("idle").includes("prompt> "));
    await run(["kill", "idle"]);
    expect(await finish(following)).toMatchObject({ status: 0, stdout: "up\nprompt> " });
  });

  test("tells what it uses", async () => {
    await manager.define({ a: { code: IDLE }, b: { code: IDLE } });
    await run(["start", "a", "b"]);
    const { stdout } = await run(["stats", "--no-stream", "--json"]);
    const stats = JSON.parse(stdout) as {
      name: string;
      resident: number;
      guestResident: number;
      cpuTime: number;
    }[];
    expect(stats.map(({ name }) => name)).toEqual(["a", "b"]);
    for (const { resident, guestResident, cpuTime } of stats) {
      expect(guestResident).toBeGreaterThan(4096);
      expect(resident).toBeGreaterThan(guestResident);
      expect(cpuTime).toBeGreaterThan(10);
    }
    expect((await run(["stats", "--no-stream", "--format", "{{.name}} {{.memory}}", "b"])).stdout).toBe(
      "b 16777216\n",
    );
    const [inspected] = JSON.parse((await run(["inspect", "a"])).stdout) as {
      definition: object;
      socket: string;
    }[];
    expect(inspected!.definition).toMatchObject({ kind: "vm", name: "a", machine: { cpus: 1 } });
    expect(statSync(inspected!.socket).mode & 0o777).toBe(0o600);
    expect(statSync(join(manager.state, "run")).mode & 0o777).toBe(0o700);
  });

  test("is asked for memory by its balloon", async () => {
    await manager.define({ a: { code: IDLE, balloon: { size: "1M" } }, b: { code: IDLE, balloon: false } });
    await run(["start", "a", "b"]);
    const target = async (): Promise<number> => {
      const { stdout } = await run(["stats", "--no-stream", "--json", "a"]);
      const [stats] = JSON.parse(stdout) as [{ balloon: { target: number; actual: number } }];
      expect(stats.balloon.actual).toBe(0);
      return stats.balloon.target;
    };
    expect(await target()).toBe(2 ** 20);
    expect(await run(["balloon", "a", "4M"])).toMatchObject({ status: 0, stdout: "a\n", stderr: "" });
    expect(await target()).toBe(4 * 2 ** 20);
    const tooMuch = await run(["balloon", "a", "17M"]);
    expect(tooMuch.status).toBe(125);
    expect(tooMuch.stderr).toContain(
      "17825792 is not a number of bytes from 0 to the 16777216 of the machine",
    );
    const none = await run(["balloon", "b", "1M"]);
    expect(none.status).toBe(125);
    expect(none.stderr).toMatch(/^tsvm: the machine has no balloon\n/);
  });

  test("shows metrics, and that it does not run", async () => {
    await manager.define({ a: { code: IDLE, balloon: true }, b: { code: IDLE }, c: { code: IDLE } });
    await run(["start", "a", "b"]);
    const { stdout, stderr, status } = await run(["metrics"]);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    const families = parseExposition(stdout);
    const up = families.get("tsvm_vm_up")!.samples.map(({ labels, value }) => [labels.vm, value]);
    expect(up).toEqual([
      ["a", 1],
      ["b", 1],
      ["c", 0],
    ]);
    const of = (name: string): unknown[] => families.get(name)!.samples.map(({ labels }) => labels);
    expect(of("tsvm_device_interrupts_total")).toEqual([
      { vm: "a", device: "vsock" },
      { vm: "a", device: "entropy" },
      { vm: "a", device: "balloon" },
      { vm: "b", device: "vsock" },
      { vm: "b", device: "entropy" },
    ]);
    expect(families.get("tsvm_vm_memory_bytes")!.samples.map(({ value }) => value)).toEqual([
      2 ** 24,
      2 ** 24,
    ]);
    await run(["kill", "b"]);
    expect((await run(["metrics", "b"])).stdout).toBe(
      '# HELP tsvm_vm_up Whether the VM runs and its monitor answers.\n# TYPE tsvm_vm_up gauge\ntsvm_vm_up{vm="b"} 0\n',
    );
    expect((await run(["metrics", "nobody"])).stderr).toContain('there is no VM "nobody"');
  });

  test("starts with those that it depends on, stops before them, and goes by its file", async () => {
    const kernel = files.path("kernel.elf", pvhGuest(IDLE));
    const file = manager.file("app.json", {
      web: { kernel, dependsOn: ["db", "cache"] },
      db: { kernel },
      cache: { kernel, dependsOn: ["db"] },
    });
    const up = await run(["up", file]);
    expect(up).toMatchObject({ status: 0, stderr: "" });
    expect(up.stdout).toBe("db: started\ncache: started\nweb: started\n");
    expect((await run(["up", file])).stdout.split("\n").sort()).toEqual([
      ...["", "cache: running already", "db: running already", "web: running already"],
    ]);

    expect(await run(["kill", "cache"])).toMatchObject({
      stdout: "cache\n",
      stderr: "tsvm: cache: web, which depends on it, still runs\n",
    });
    expect((await run(["start", "cache"])).status).toBe(0);

    const changed = manager.file("app.json", { web: { kernel, memory: "32M" }, db: { kernel } });
    const again = await run(["up", changed]);
    expect(again.stderr).toContain(
      "tsvm: web: its definition has changed, which counts from its next start; --recreate restarts it now\n",
    );
    expect(again.stderr).toContain(`tsvm: cache is not in ${changed} any more; tsvm rm cache removes it\n`);
    // Told as long as it is so, and shown: what runs has the memory that it was started with.
    expect((await run(["up", changed])).stderr).toContain("tsvm: web: its definition has changed");
    const shown = async (): Promise<string> =>
      (await run(["ps", "--filter", "name=web", "--format", "{{.memory}} {{.outdated}}"])).stdout;
    const before = await shown();
    expect(before).toMatch(/^\d+ true\n$/);
    expect(before).not.toContain(`${32 * 2 ** 20} `);
    expect((await run(["up", "--recreate", changed, "web"])).stdout).toBe("web: started\n");
    expect(await shown()).toBe(`${32 * 2 ** 20} false\n`);

    const down = await run(["down", "-t", "0", file]);
    expect(down.status).toBe(0);
    expect(down.stdout.split("\n").sort()).toEqual([
      ...["", "cache: stopped and removed", "db: stopped and removed", "web: stopped and removed"],
    ]);
    expect(await list()).toEqual({});
    expect(existsSync(kernel)).toBe(true);
    expect(await run(["down", file])).toMatchObject({
      status: 0,
      stdout: "",
      stderr: `tsvm: no VM comes from ${file}: nothing to do\n`,
    });
  });

  test("comes of boot --detach, with its name and all else that a definition file says of it", async () => {
    const kernel = files.path("kernel.elf", pvhGuest(IDLE));
    const file = manager.file("two.json", {
      web: { kernel, dependsOn: ["db"], labels: { tier: "front" }, restart: "on-failure" },
      db: { kernel },
    });
    const boot = ["boot", "--detach", file, "--vm", "web"];
    expect(await run(boot)).toMatchObject({
      status: 0,
      stdout: "web\n",
      stderr: "tsvm: web depends on db: tsvm boot starts web alone\n",
    });
    const shown = ["inspect", "--format", "{{.source}} {{.restart}} {{.labels.tier}} {{.memory}}", "web"];
    expect((await run(shown)).stdout).toBe(`${file} on-failure front ${16 * 2 ** 20}\n`);

    const detached = ["boot", "--detach", "--name", "web", "-m", "32M", kernel];
    const taken = {
      status: 125,
      stdout: "",
      stderr:
        "tsvm: web is running already\n  → --name gives this one another name, --replace stops that one and takes its place\n",
    };
    expect(await run(detached)).toMatchObject(taken);
    expect(await run([...detached, "--replace"])).toMatchObject({ status: 0, stdout: "web\n" });
    expect((await run(shown)).stdout).toBe(` no  ${32 * 2 ** 20}\n`);
    // The very same, too.
    expect(await run(detached)).toMatchObject(taken);
    await run(["kill", "web"]);
    expect(await run(["boot", "--detach", "--name", "web", kernel])).toMatchObject({
      status: 125,
      stderr:
        "tsvm: there is a VM web already\n  → --replace gives it the new definition; or remove it first: tsvm rm web\n",
    });
    expect(await run(["boot", "--replace", kernel])).toMatchObject({
      status: 2,
      stderr: "tsvm: --replace is for VMs in the background\n  → add --detach\n",
    });
  });

  test("twenty start at once", async () => {
    const names = Array.from({ length: 20 }, (_, at) => `vm${at}`);
    const kernel = files.path("idle.elf", pvhGuest(IDLE));
    await manager.define(Object.fromEntries(names.map((name) => [name, { kernel }])));
    const starts = names.map((name) => run(["start", name]));
    for (const [at, result] of (await Promise.all(starts)).entries()) {
      expect(result).toMatchObject({ status: 0, stdout: `${names[at]}\n`, stderr: "" });
    }
    expect((await run(["ps", "-q"])).stdout.split("\n").filter((name) => name !== "")).toHaveLength(20);
    expect((await run(["stop", "-t", "0", ...names])).status).toBe(0);
    expect(manager.monitors()).toEqual([]);
  });
});

function log(name: string): string {
  const path = join(manager.state, "vms", name, "log.jsonl");
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

async function cpuTime(name: string): Promise<number> {
  const { stdout } = await run(["stats", "--no-stream", "--format", "{{.cpuTime}}", name]);
  return Number(stdout);
}
