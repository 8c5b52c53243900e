/** What goes wrong around background VMs: wrong words, full disks, killed processes. What is printed is compared. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { KVM, MOUNT_NAMESPACE, suite } from "./support/needs.ts";
import { CLI } from "./support/paths.ts";
import { scratch } from "./support/scratch.ts";
import { IDLE, pvhGuest } from "./support/tiny-guests.ts";
import { BOOT_LIMIT_MS, collect, finish, until } from "./support/tsvm.ts";
import { vms } from "./support/vms.ts";

const files = scratch();
const manager = vms(files);
const { run, state } = manager;
const idle = files.path("idle.elf", pvhGuest(IDLE));

afterEach(() => manager.clear());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function row(
  name: string,
): Promise<{ state: string; pid: number; exit: { reason: string; at: string } | null }> {
  const { stdout } = await run(["inspect", name]);
  return (
    JSON.parse(stdout) as [{ state: string; pid: number; exit: { reason: string; at: string } | null }]
  )[0];
}

suite("words that make no sense", [KVM], () => {
  test("are told what is wrong, and what was probably meant", async () => {
    await manager.define({ web: { kernel: idle }, db: { kernel: idle } });
    const cases: [args: string[], status: number, stderr: string][] = [
      [["start", "weeb"], 125, 'tsvm: there is no VM "weeb"\n  → did you mean web?\n'],
      [["stop", "mail"], 125, 'tsvm: there is no VM "mail"\n  → tsvm ps --all lists those that there are\n'],
      [
        ["rm", "../web"],
        125,
        'tsvm: there is no VM "../web"\n  → tsvm ps --all lists those that there are\n',
      ],
      [
        ["inspect", "a\x1b[2Jb\n"],
        125,
        'tsvm: there is no VM "a\\u001b[2Jb\\n"\n  → tsvm ps --all lists those that there are\n',
      ],
      [["kill", "web"], 125, "tsvm: web is not running\n"],
      [["pause", "web"], 125, "tsvm: web is not running\n  → tsvm start web starts it\n"],
      [["console", "web"], 125, "tsvm: web is not running\n  → tsvm start web starts it\n"],
      [["stats", "web"], 125, "tsvm: web is not running\n  → tsvm start web starts it\n"],
      [["wait", "web"], 125, "tsvm: web has never been started\n  → tsvm start web starts it\n"],
      [["stop", "web"], 0, "tsvm: web is not running\n"],
      [["start"], 2, "tsvm: which VM? (NAME, or --autostart)\n"],
      [["start", "-a", "web", "db"], 2, "tsvm: --attach takes one VM\n"],
      [
        ["stop", "-t", "soon", "web"],
        2,
        'tsvm: --timeout: "soon" is not a time\n  → write for example 30s, 5m or 500ms\n',
      ],
      [
        ["ps", "--filter", "colour=red"],
        2,
        'tsvm: --filter: "colour=red" makes no sense\n  → write state=running, name=web* or label=KEY[=VALUE]\n',
      ],
      [
        ["ps", "--filter", "state=runing"],
        2,
        'tsvm: --filter: there is no state "runing"\n  → did you mean running? the states are defined, starting, running, paused, stopping, restarting, stopped, unknown\n',
      ],
      [
        ["ps", "-q", "--json"],
        2,
        "tsvm: --quiet and --json do not go together\n  → --format '{{.name}}' prints names only, too\n",
      ],
      [
        ["ps", "-q", "--format", "{{.pid}}"],
        2,
        "tsvm: --quiet and --format do not go together\n  → --format '{{.name}}' prints names only, too\n",
      ],
      ...["ps", "stats", "events"].map((listing): [string[], number, string] => [
        [listing, "--json", "--format", "{{.name}}"],
        2,
        "tsvm: --json and --format do not go together\n  → --format '{{json .}}' is JSON, a line each\n",
      ]),
      [["events", "weeb"], 125, 'tsvm: there is no VM "weeb"\n  → did you mean web?\n'],
      [["logs", "-n", "few", "web"], 2, 'tsvm: --tail: "few" is not a whole number\n'],
      [
        ["events", "--since", "noon"],
        2,
        'tsvm: --since: "noon" is not a time\n  → write for example 10m, or 2026-01-31T12:00:00Z\n',
      ],
      [["completion", "csh"], 2, 'tsvm: shell: "csh" is not one of bash, zsh, fish\n'],
    ];
    for (const [args, status, stderr] of cases) {
      expect(await run(args), args.join(" ")).toMatchObject({ status, stdout: "", stderr });
    }
    const { stderr } = await run(["ps", "--format", "{{.nmae}}"]);
    expect(stderr).toMatch(
      /^tsvm: --format: there is no field "nmae"\n {2}→ did you mean name\? the fields are name, state, /,
    );
    // Some of several: the rest is done.
    expect(await run(["start", "web", "weeb"])).toMatchObject({
      status: 125,
      stdout: "web\n",
      stderr: 'tsvm: there is no VM "weeb"\n  → did you mean web?\n',
    });
    expect(await run(["start", "web"])).toMatchObject({
      status: 0,
      stdout: "",
      stderr: "tsvm: web is running already\n",
    });
    expect(await run(["rm", "web"])).toMatchObject({
      status: 125,
      stderr: "tsvm: web is running\n  → stop it first: tsvm stop web; or --force, which cuts its power\n",
    });
  });

  test("a name that is taken", async () => {
    const first = manager.file("first.json", { web: { kernel: idle } });
    const second = manager.file("second.json", { web: { kernel: idle, memory: "32M" } });
    await run(["define", first]);
    expect(await run(["define", second])).toMatchObject({
      status: 125,
      stderr: `tsvm: there is a VM web already, from ${first}\n  → --replace gives it the new definition; or remove it first: tsvm rm web\n`,
    });
    expect(await run(["up", second])).toMatchObject({
      status: 125,
      stderr: `tsvm: there is a VM web already, from ${first}\n  → give one of them another name, or remove that one: tsvm rm web\n`,
    });
    expect(await run(["define", "--replace", second])).toMatchObject({
      status: 0,
      stdout: "web: replaced\n",
    });
    expect(await run(["down", first])).toMatchObject({
      status: 0,
      stderr: `tsvm: no VM comes from ${first}: nothing to do\n`,
    });
    expect(await run(["down", `${first}x`])).toMatchObject({
      status: 125,
      stderr: `tsvm: no VM comes from ${first}x\n  → tsvm ps --all --format '{{.name}} {{.source}}'\n`,
    });
  });

  test("a disk or a kernel that is missing", async () => {
    await manager.define({
      web: { kernel: "/nonexistent/vmlinux" },
      db: { kernel: idle, disks: ["/nonexistent/disk.img"] },
    });
    const web = await run(["start", "web"]);
    expect(web.status).toBe(125);
    expect(web.stderr).toBe("tsvm: web: /nonexistent/vmlinux: no such file\n  → check the path\n");
    const db = await run(["start", "db"]);
    expect(db.stderr).toMatch(/^tsvm: db: disk \/nonexistent\/disk\.img: /);
    expect(manager.monitors()).toEqual([]);
    expect((await row("web")).exit).toMatchObject({
      reason: "error",
      message: "/nonexistent/vmlinux: no such file",
    });
  });

  test("one that others need cannot be started", async () => {
    await manager.define({
      web: { kernel: idle, dependsOn: ["db"] },
      db: { kernel: "/nonexistent/vmlinux" },
    });
    expect((await run(["start", "web"])).stderr).toBe(
      "tsvm: db: /nonexistent/vmlinux: no such file\n  → check the path\ntsvm: web: left as it is, for db has failed\n",
    );
    await run(["rm", "db"]);
    expect((await run(["start", "web"])).stderr).toBe(
      "tsvm: web depends on db, which is not defined\n  → define it, or web without it\n",
    );
  });
});

suite("state files", [KVM], () => {
  test("of a newer version are refused by name, and stay as they are", async () => {
    await manager.define({ web: { kernel: idle } });
    const path = join(state, "vms/web/definition.json");
    const newer = readFileSync(path, "utf8").replace('"format": 1', '"format": 2');
    writeFileSync(path, newer);
    const message = `tsvm: ${path}: written by a newer tsvm (format 2, this one knows 1)\n  → use that tsvm; this one leaves the file as it is\n`;
    expect(await run(["start", "web"])).toMatchObject({ status: 125, stderr: message });
    expect(await run(["inspect", "web"])).toMatchObject({ status: 125, stderr: message });
    expect(await run(["rm", "web"])).toMatchObject({ status: 125, stderr: message });
    expect(
      await run(["define", "--replace", manager.file("web.json", { web: { kernel: idle } })]),
    ).toMatchObject({
      status: 125,
      stderr: message,
    });
    const listed = await run(["ps", "-a", "--format", "{{.name}} {{.state}} {{.cpus}}"]);
    expect(listed).toMatchObject({
      status: 0,
      stdout: "web defined \n",
      stderr: message.split("\n")[0]! + "\n",
    });
    expect(readFileSync(path, "utf8")).toBe(newer);

    writeFileSync(path, newer.replace('"format": 2', '"format": 1'));
    const record = join(state, "vms/web/state.json");
    writeFileSync(record, '{"format": 7}');
    expect((await run(["start", "web"])).stderr).toMatch(
      /^tsvm: .*state\.json: written by a newer tsvm \(format 7,/,
    );
    expect(readFileSync(record, "utf8")).toBe('{"format": 7}');
  });

  test("that are damaged do not get in the way of the others", async () => {
    await manager.define({ web: { kernel: idle }, db: { kernel: idle } });
    const path = join(state, "vms/web/definition.json");
    const whole = readFileSync(path, "utf8");
    const message = `tsvm: ${path}: damaged\n`;
    const hint = "  → restore it, or remove the VM: tsvm rm --force\n";
    for (const damaged of ["", whole.slice(0, 100), "[]", '{"format": 1}', "\0".repeat(4096)]) {
      writeFileSync(path, damaged);
      expect(await run(["start", "web"])).toMatchObject({ status: 125, stderr: message + hint });
    }
    expect(await run(["ps", "-aq"])).toMatchObject({ status: 0, stdout: "db\nweb\n", stderr: message });
    expect(await run(["start", "db"])).toMatchObject({ status: 0, stdout: "db\n" });
    expect(await run(["rm", "web"])).toMatchObject({ status: 125, stderr: message + hint });
    expect(await run(["rm", "--force", "web"])).toMatchObject({ status: 0, stdout: "web\n" });

    // What is only about the past: the next start writes it anew.
    await run(["stop", "-t", "0", "db"]);
    writeFileSync(join(state, "vms/db/state.json"), "{");
    expect((await run(["ps", "-a"])).stderr).toBe(`tsvm: ${join(state, "vms/db/state.json")}: damaged\n`);
    expect(await run(["start", "db"])).toMatchObject({ status: 0, stdout: "db\n", stderr: "" });
  });

  test("what killed commands leave behind is cleared away", async () => {
    await manager.define({ web: { kernel: idle } });
    for (const name of [".gone-old-1-1", `.new-1-1-abc`]) mkdirSync(join(state, "vms", name));
    await run(["start", "web"]);
    expect(existsSync(join(state, "vms/.gone-old-1-1"))).toBe(false);
    expect(existsSync(join(state, "vms/.new-1-1-abc"))).toBe(false);
  });
});

suite("a process that is killed", [KVM], () => {
  test("a monitor: ps tells the truth at once, and the VM can be started again", async () => {
    await manager.define({ web: { kernel: idle } });
    await run(["start", "web"]);
    const waiting = manager.start(["wait", "web"]);
    await pause(1000);
    const watching = manager.start(["events", "--format", "{{.event}} {{.reason}}"]);
    const following = manager.start(["logs", "--follow", "web"]);
    const [watched, followed] = [collect(watching.stdout), collect(following.stderr)];
    await until("the log", () => followed.text.includes("[tsvm: running]\n"));
    await pause(1000);
    const { pid } = await row("web");
    const before = Date.now();
    process.kill(pid, "SIGKILL");
    // Nobody else looks at it yet.
    await until("the event", () => watched.text !== "", { limit: 20_000 });
    const after = Date.now();
    expect(watched.text).toBe("exit lost\n");
    const loss = "lost: its monitor was killed, or the host went down";
    expect((await finish(following)).stderr).toMatch(new RegExp(`\\[tsvm: ${loss}\\]\n$`));
    expect(
      await run(["ps", "-a", "--format", "{{.name}} {{.state}} {{.exit.reason}} {{.exit.status}}"]),
    ).toMatchObject({
      stdout: "web stopped lost 137\n",
      stderr: "",
    });
    expect(await finish(waiting)).toMatchObject({
      status: 0,
      stdout: "137\n",
      stderr: `tsvm: web: ${loss}\n`,
    });
    const noticed = Date.parse((await row("web")).exit!.at);
    expect(noticed).toBeGreaterThanOrEqual(before);
    expect(noticed).toBeLessThanOrEqual(after);
    expect((await run(["console", "web"])).stderr).toBe(
      "tsvm: web is not running\n  → tsvm start web starts it\n",
    );
    expect(await run(["start", "web"])).toMatchObject({ status: 0, stdout: "web\n", stderr: "" });
    expect((await row("web")).state).toBe("running");
    // Once, however many have looked.
    const since = new Date(before).toISOString();
    const events = await run([
      ...["events", "--no-follow", "--since", since],
      ...["--format", "{{.event}} {{.reason}}"],
    ]);
    expect(events.stdout.split("exit lost\n")).toHaveLength(2);
    watching.kill();
    await watching;
  });

  test("a command in the middle of a start: the VM is not left in between", async () => {
    await manager.define({ web: { kernel: idle } });
    for (const delay of [50, 200, 400, 600, 900]) {
      const starting = manager.start(["start", "web"]);
      await pause(delay);
      starting.kill("SIGKILL");
      await finish(starting);
      // Whatever it came to, the next one gets it right.
      const { status, stdout, stderr } = await run(["start", "web"]);
      const answer = ["web\n", "tsvm: web is running already\n"];
      expect(answer, `killed after ${delay} ms; status ${status}`).toContain(stdout + stderr);
      expect(status).toBe(0);
      expect(manager.monitors()).toHaveLength(1);
      expect(await run(["stop", "-t", "0", "web"])).toMatchObject({ status: 0, stderr: "" });
      expect(manager.monitors()).toEqual([]);
    }
  });

  test("a command in the middle of a start: others wait for the monitor that it has made", async () => {
    await manager.define({ web: { kernel: idle } });
    for (const [verb, expected] of [
      [["start", "web"], { stdout: "", stderr: "tsvm: web is running already\n" }],
      [["kill", "web"], { stdout: "web\n", stderr: "" }],
    ] as const) {
      const starting = manager.start(["start", "web"]);
      await until("the monitor", () => manager.monitors().length === 1);
      // So early that it has done nothing yet.
      const [pid] = manager.monitors();
      process.kill(pid!, "SIGSTOP");
      starting.kill("SIGKILL");
      await finish(starting);
      const next = manager.start([...verb]);
      await pause(1500);
      expect(manager.monitors()).toEqual([pid]);
      process.kill(pid!, "SIGCONT");
      expect(await finish(next)).toMatchObject({ status: 0, ...expected });
    }
    expect(manager.monitors()).toEqual([]);
  });

  test("a monitor that hangs does not keep others waiting, and can be killed", async () => {
    await manager.define({ web: { kernel: idle }, db: { kernel: idle } });
    await run(["start", "web", "db"]);
    const { pid } = await row("web");
    process.kill(pid, "SIGSTOP");
    const listed = await run(["ps", "-q"]);
    expect(listed).toMatchObject({
      status: 0,
      stdout: "db\nweb\n",
      stderr: "tsvm: web: its monitor does not answer\n",
    });
    expect(await run(["kill", "web"])).toMatchObject({ status: 0, stdout: "web\n" });
    expect(manager.monitors()).toEqual([(await row("db")).pid]);
    expect((await row("web")).exit).toMatchObject({ reason: "killed" });
  });

  test("the directory of the sockets: the monitor makes a new one", async () => {
    await manager.define({ web: { kernel: idle } });
    await run(["start", "web"]);
    rmSync(join(state, "run"), { recursive: true });
    expect(await run(["pause", "web"])).toMatchObject({ status: 0, stdout: "web\n", stderr: "" });
    expect(await run(["ps", "--format", "{{.state}}"])).toMatchObject({ stdout: "paused\n", stderr: "" });
  });
});

suite("several managers at once", [KVM], () => {
  test("define one VM, and only one of them does", async () => {
    const file = manager.file("web.json", { web: { kernel: idle } });
    const results = await Promise.all(Array.from({ length: 6 }, () => run(["define", file])));
    expect(results.map(({ stdout, stderr }) => stdout + stderr).sort()).toEqual([
      "web: defined\n",
      ...Array.from({ length: 5 }, () => "web: unchanged\n"),
    ]);
  });

  test("start one VM, and one monitor comes of it", async () => {
    await manager.define({ web: { kernel: idle } });
    const results = await Promise.all(Array.from({ length: 6 }, () => run(["start", "web"])));
    for (const { status } of results) expect(status).toBe(0);
    expect(results.map(({ stdout, stderr }) => stdout + stderr).sort()).toEqual([
      ...Array.from({ length: 5 }, () => "tsvm: web is running already\n"),
      "web\n",
    ]);
    expect(manager.monitors()).toHaveLength(1);
  });

  test("start, stop, define and remove one VM: nothing is left in between", async () => {
    const file = manager.file("web.json", { web: { kernel: idle } });
    await run(["define", file]);
    const verbs = [
      ["start", "web"],
      ["rm", "-f", "web"],
      ["define", file],
      ["stop", "-t", "0", "web"],
    ];
    const results = await Promise.all([...verbs, ...verbs, ...verbs].map((args) => run(args)));
    for (const { stderr } of results) {
      expect(stderr).toMatch(
        /^(tsvm: (there is no VM "web"|the VM web has just been removed|web is (not )?running.*|web: forced off: .*)\n( {2}→ .*\n)?)*$/,
      );
    }
    // What there is now is whole.
    expect((await run(["define", file])).stdout).toMatch(/^web: (defined|unchanged)\n$/);
    expect(await run(["start", "web"])).toMatchObject({ status: 0 });
    expect(manager.monitors()).toHaveLength(1);
  });
});

suite("paths", [KVM], () => {
  test("that are too long for a socket", async () => {
    const deep = join(files.directory, "d".repeat(100), "e".repeat(100), "state");
    const long = vms(files, deep);
    await long.define({ web: { kernel: idle } });
    expect(await long.run(["start", "web"])).toMatchObject({ status: 0, stdout: "web\n", stderr: "" });
    expect((await long.run(["stats", "--no-stream", "--format", "{{.name}}"])).stdout).toBe("web\n");
    expect(await long.run(["kill", "web"])).toMatchObject({ status: 0, stdout: "web\n" });
    await long.clear();
  });

  test("of a state directory that cannot be one", async () => {
    const file = files.path("no-directory", "");
    expect(
      await run(["define", manager.file("web.json", { web: { kernel: idle } })], {
        env: { TSVM_STATE_DIR: `${file}/x` },
      }),
    ).toMatchObject({
      status: 125,
      stderr: `tsvm: ${file}/x: cannot be made: a part of the path is no directory\n  → TSVM_STATE_DIR names another directory\n`,
    });
    const open = files.path("open");
    mkdirSync(open);
    execFileSync("chmod", ["777", open]);
    expect(
      (
        await run(["define", manager.file("web.json", { web: { kernel: idle } })], {
          env: { TSVM_STATE_DIR: open },
        })
      ).stderr,
    ).toBe(`tsvm: ${open}: others may write to it\n  → chmod go-w ${open}\n`);
    // Nothing there yet is nothing to complain of.
    expect(await run(["ps"], { env: { TSVM_STATE_DIR: files.path("nothing") } })).toMatchObject({
      status: 0,
      stderr: "",
    });
  });
});

/** Runs a script with sh in a mount namespace, with the state directory on a small disk of its own; the result is all output. */
function onSmallDisk(directory: string, env: Record<string, string>, script: string): string {
  mkdirSync(directory, { recursive: true });
  const prologue = `
    mount -t tmpfs -o size=256k,mode=700 none "$0"
    tsvm() { "$NODE" "$CLI" "$@" 2>&1; echo "= $?"; }`;
  return execFileSync("unshare", ["--mount", "sh", "-c", `${prologue}\n${script}`, directory], {
    encoding: "utf8",
    env: { ...process.env, ...env, CLI, NODE: process.execPath },
    timeout: BOOT_LIMIT_MS,
  });
}

suite("the state directory", [KVM, MOUNT_NAMESPACE], () => {
  test("on a full disk: a VM goes on and is told of, nothing new is kept", () => {
    const directory = files.path("full");
    const full = vms(files, directory);
    const output = onSmallDisk(
      directory,
      full.env,
      `
      tsvm define ${full.file("web.json", { web: { kernel: idle } })}
      tsvm start web
      dd if=/dev/zero of="$0/fill" bs=4k 2>/dev/null
      tsvm define ${full.file("db.json", { db: { kernel: idle } })}
      tsvm pause web
      tsvm ps --format '{{.name}} {{.state}}'
      tsvm resume web
      tsvm stop -t 0 web
      tsvm ps -a --format '{{.name}} {{.state}} {{.exit.reason}}'
      tsvm start web
      tsvm ps --format '{{.name}} {{.state}}'
      tsvm rm -f web
      tsvm ps -a --format '{{.name}}'`,
    );
    expect(output.split("\n")).toEqual([
      ...["web: defined", "= 0", "web", "= 0"],
      `tsvm: ${directory}/vms: cannot be written: no space left on the device`,
      "  → free some space there; nothing has been changed",
      "= 125",
      ...["web", "= 0", "web paused", "= 0", "web", "= 0", "web", "= 0", "web stopped killed", "= 0"],
      ...["web", "= 0", "web running", "= 0", "web", "= 0", "= 0", ""],
    ]);
    expect(full.monitors()).toEqual([]);
  });

  test("that is read-only", () => {
    const directory = files.path("readonly");
    const readOnly = vms(files, directory);
    const file = readOnly.file("web.json", { web: { kernel: idle } });
    const output = onSmallDisk(
      directory,
      readOnly.env,
      `
      tsvm define ${file}
      mount -o remount,ro "$0"
      tsvm ps -a --format '{{.name}} {{.state}}'
      tsvm start web
      tsvm rm web
      tsvm define --replace ${readOnly.file("other.json", { web: { kernel: idle, memory: "32M" } })}`,
    );
    const refused = [
      `tsvm: ${directory}/vms/web/lock: cannot be locked: the file system is read-only`,
      "  → TSVM_STATE_DIR names another directory",
      "= 125",
    ];
    expect(output.split("\n")).toEqual([
      ...["web: defined", "= 0", "web defined", "= 0"],
      ...refused,
      ...refused,
      ...refused,
      "",
    ]);
  });
});

suite("a host without /dev/kvm", [MOUNT_NAMESPACE], () => {
  test("is told of by the start", async () => {
    await manager.define({ web: { kernel: idle } });
    const empty = files.path("dev");
    mkdirSync(empty);
    const script = `mount -t tmpfs none ${empty} && for name in null urandom; do touch ${empty}/$name; mount --bind /dev/$name ${empty}/$name; done && mount --rbind ${empty} /dev && exec "$@"`;
    const result = await run(["start", "web"], { wrapper: ["unshare", "--mount", "sh", "-c", script, "sh"] });
    expect(result).toMatchObject({ status: 125, stdout: "" });
    expect(result.stderr).toMatch(/^tsvm: web: \/dev\/kvm does not exist: this host offers no KVM\n {2}→ /);
    expect((await row("web")).exit).toMatchObject({ reason: "error", status: 125 });
    expect(manager.monitors()).toEqual([]);
  });
});
