/** Commands and files in a guest that runs, by the agent. One guest for most of it: on a software KVM each command takes a second or two. */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Machine as MachineType } from "../src/machine/machine.ts";
import { importLibrary, MiB } from "./support/library.ts";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { sha256 } from "./support/sha256.ts";
import { SLOWNESS } from "./support/tsvm.ts";
import { ENDLESS_LOOP, pvhGuest } from "./support/tiny-guests.ts";

const files = scratch();
const { Machine, releaseIdleWorkers } = await importLibrary();
afterAll(() => releaseIdleWorkers());

function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31) ^ (i >> 7) ^ (i >> 15);
  return bytes;
}

suite("a guest with nothing but the agent", [KVM], () => {
  let machine: MachineType;
  beforeAll(async () => {
    machine = await Machine.boot({ cpus: 1, memory: 96 * MiB, agent: "only" });
  });
  afterAll(async () => {
    await machine.stop();
  });

  test("streams, status, environment, directory, usage", async () => {
    const process = await machine.exec(["sh", "-c", 'echo "$A $PWD $HOME"; echo err >&2; exit 7'], {
      env: { A: "b c" },
      cwd: "/etc",
    });
    const { stdout, stderr, status, signal, timedOut, usage } = await process.output();
    expect([stdout.toString(), stderr.toString()]).toEqual(["b c /etc /root\n", "err\n"]);
    expect([status, signal, timedOut]).toEqual([7, undefined, false]);
    expect(usage.user + usage.system).toBeGreaterThan(0);
    expect(usage.memory).toBeGreaterThan(100_000);
  });

  test("what cannot be started, and a user that does not exist", async () => {
    const missing = await machine.exec(["/no/such/program"]);
    await expect(missing.exit).rejects.toMatchObject({ code: "ERR_AGENT_REFUSED", errno: 2 });
    const nobody = await machine.exec(["true"], { user: "no-such-user" });
    await expect(nobody.exit).rejects.toThrow("no-such-user");
  });

  test("another user, by number and group", async () => {
    const process = await machine.exec(["id"], { user: "1000:100" });
    expect((await process.output()).stdout.toString()).toMatch(/^uid=1000 gid=100/);
  });

  test("a megabyte through a command and back", async () => {
    const data = noise(MiB);
    const process = await machine.exec(["cat"], { stdin: data });
    expect(sha256((await process.output()).stdout)).toBe(sha256(data));
  });

  test("signals, time limits", async () => {
    const process = await machine.exec(["sleep", "1000"]);
    process.kill("SIGINT");
    expect(await process.exit).toMatchObject({ status: undefined, signal: 2 });
    const limited = await machine.exec(["sleep", "1000"], { timeout: 500 });
    expect(await limited.exit).toMatchObject({ signal: 9, timedOut: true });
  });

  test("a terminal and its size", async () => {
    const process = await machine.exec(["sh", "-c", "tty; stty size; read key; stty size; echo got $key"], {
      terminal: { rows: 33, columns: 101 },
    });
    let seen = "";
    for await (const bytes of process.stdout) {
      seen += String(bytes);
      if (seen.includes("33 101") && !seen.includes("key")) {
        process.resize({ rows: 44, columns: 55 });
        process.stdin.write("key\n");
      }
    }
    expect(seen).toBe("/dev/pts/0\r\n33 101\r\nkey\r\n44 55\r\ngot key\r\n");
    expect((await process.exit).status).toBe(0);
  });

  test("twenty commands at once", async () => {
    const outputs = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const process = await machine.exec(["sh", "-c", `echo ${i}; exit ${i}`]);
        return process.output();
      }),
    );
    for (const [i, { stdout, status }] of outputs.entries()) {
      expect([stdout.toString(), status]).toEqual([`${i}\n`, i]);
    }
  });

  test("a lost connection ends the command", async () => {
    const process = await machine.exec(["sh", "-c", "echo $$; exec sleep 1000"]);
    const [pid] = (await process.stdout[Symbol.asyncIterator]().next()).value.toString().split("\n");
    await process[Symbol.asyncDispose]();
    const look = await machine.exec([
      "sh",
      "-c",
      `i=0; while [ -d /proc/${pid} ] && [ $i -lt 100 ]; do usleep 100000; i=$((i+1)); done; [ ! -d /proc/${pid} ]`,
    ]);
    expect((await look.output()).status).toBe(0);
  });

  test("a tree goes in and comes out as it was", async () => {
    const tree = join(files.directory, "tree");
    mkdirSync(join(tree, "sub/empty"), { recursive: true });
    writeFileSync(join(tree, "one"), "1", { mode: 0o640 });
    writeFileSync(join(tree, "sub/large"), noise(400_000));
    symlinkSync("../one", join(tree, "sub/link"));
    utimesSync(join(tree, "one"), 1_000_000_000, 1_000_000_000);
    expect(await machine.copyTo(tree, "/tmp/copy")).toEqual({ files: 3, bytes: 400_001 });
    expect(await machine.copyFrom("/tmp/copy", join(files.directory, "back"))).toEqual({
      files: 3,
      bytes: 400_001,
    });
    const back = join(files.directory, "back");
    expect((readdirSync(back, { recursive: true }) as string[]).sort()).toEqual(
      (readdirSync(tree, { recursive: true }) as string[]).sort(),
    );
    expect(sha256(readFileSync(join(back, "sub/large")))).toBe(sha256(noise(400_000)));
    expect(readlinkSync(join(back, "sub/link"))).toBe("../one");
    const { mode, mtimeMs } = statSync(join(back, "one"));
    expect([mode & 0o777, mtimeMs]).toEqual([0o640, 1e12]);
    await expect(machine.copyFrom("/no/such", back)).rejects.toMatchObject({
      code: "ERR_AGENT_REFUSED",
      errno: 2,
    });
  });

  test("the clock", async () => {
    await machine.setTime(Date.UTC(2020, 0, 2));
    const process = await machine.exec(["date", "+%Y-%m-%d"]);
    expect((await process.output()).stdout.toString()).toBe("2020-01-02\n");
  });
});

suite("the agent on demand", [KVM], () => {
  test("is started when it is wanted, beside a shell, and shuts the guest down in good order", async () => {
    const machine = await Machine.boot({ cpus: 1, memory: 96 * MiB, vsock: {} });
    const process = await machine.exec(["cat", "/proc/1/cmdline"]);
    expect((await process.output()).stdout.toString()).toBe("/init\0");
    const { reason, command } = await machine.shutdown({ timeout: 60_000 * SLOWNESS });
    expect([reason, command]).toEqual(["command", { kind: "exited", status: 0 }]);
    await expect(machine.exec(["true"])).rejects.toMatchObject({ code: "ERR_MACHINE_STATE" });
  });

  test("a command that is under way when the machine ends", async () => {
    const machine = await Machine.boot({ cpus: 1, memory: 96 * MiB, agent: "only" });
    const process = await machine.exec(["sleep", "1000"]);
    await machine.stop();
    await expect(process.exit).rejects.toMatchObject({ code: "ERR_AGENT_LOST" });
  });

  test("a machine without it says so", async () => {
    const kernel = files.path("spin.elf", pvhGuest(ENDLESS_LOOP));
    const none = await Machine.boot({ cpus: 1, memory: 32 * MiB, kernel });
    await expect(none.exec(["true"])).rejects.toMatchObject({ code: "ERR_AGENT_ABSENT" });
    await none.stop();
    const silent = await Machine.boot({ cpus: 1, memory: 32 * MiB, kernel, vsock: {} });
    await expect(silent.waitForAgent({ timeout: 300 })).rejects.toMatchObject({
      code: "ERR_MACHINE_TIMEOUT",
    });
    const waiting = expect(silent.waitForAgent()).rejects.toMatchObject({ code: "ERR_MACHINE_STATE" });
    await silent.stop();
    await waiting;
  });
});
