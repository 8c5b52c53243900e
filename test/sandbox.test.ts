/** The library's sandbox(): a machine for one command. */
import { afterAll, expect, test } from "vitest";
import { importLibrary, MiB } from "./support/library.ts";
import { KVM, suite } from "./support/needs.ts";
import { SLOWNESS } from "./support/tsvm.ts";

/** A host on which a boot takes a minute and a command half of one. */
const SLOW_HOST = { memory: 96 * MiB, bootLimit: 180_000 * SLOWNESS, timeLimit: 120_000 * SLOWNESS };

const { sandbox, releaseIdleWorkers } = await importLibrary();
afterAll(() => releaseIdleWorkers());

suite("a sandbox", [KVM], () => {
  test("runs code with files, and hands back output, status and files", async () => {
    const result = await sandbox({
      code: "cat input data/more; echo made >out.txt; mkdir -p dir/sub; echo deep >dir/sub/f; echo /sys/class/net/*; exit 3",
      files: { input: "in\n", "data/more": Buffer.from("more\n") },
      stdin: "",
      ...SLOW_HOST,
      outputs: ["out.txt", "dir", "missing"],
    });
    expect(result).toMatchObject({ status: 3, signal: undefined, timedOut: false, outputLimited: false });
    // No network but the loopback interface.
    expect([result.stdout.toString(), result.stderr.toString()]).toEqual([
      "in\nmore\n/sys/class/net/lo\n",
      "",
    ]);
    expect(result.usage.memory).toBeGreaterThan(0);
    expect(Object.entries(result.files).map(([name, bytes]) => [name, bytes.toString()])).toEqual([
      ["out.txt", "made\n"],
      ["dir/sub/f", "deep\n"],
    ]);
  });

  test("kills what takes too long or writes too much", async () => {
    const slow = await sandbox({
      command: ["sh", "-c", "echo begun; sleep 1000"],
      ...SLOW_HOST,
      timeLimit: 20_000 * SLOWNESS,
    });
    expect(slow).toMatchObject({ status: undefined, signal: 9, timedOut: true });
    expect(slow.stdout.toString()).toBe("begun\n");
    const loud = await sandbox({
      command: ["cat", "/dev/zero"],
      ...SLOW_HOST,
      outputLimit: 1000,
    });
    expect(loud).toMatchObject({ signal: 9, outputLimited: true, timedOut: false });
    expect(loud.stdout.length).toBe(1000);
  });

  test("a guest that is brought down, and one that does not come up", async () => {
    await expect(sandbox({ code: "reboot -f; sleep 1000", ...SLOW_HOST })).rejects.toMatchObject({
      code: "ERR_MACHINE_ENDED",
    });
    await expect(sandbox({ command: ["true"], ...SLOW_HOST, bootLimit: 10 })).rejects.toMatchObject({
      code: "ERR_MACHINE_TIMEOUT",
    });
    const signal = AbortSignal.timeout(300);
    await expect(sandbox({ command: ["true"], ...SLOW_HOST, signal })).rejects.toMatchObject({
      name: "TimeoutError",
    });
  });

  test("options that make no sense", async () => {
    const cases: [object, string][] = [
      [{}, "one of command and code"],
      [{ command: ["a"], code: "b" }, "one of command and code"],
      [{ command: [] }, "sandbox: command"],
      [{ command: ["a"], interpreter: ["sh"] }, "sandbox: interpreter"],
      [{ command: ["a"], outputs: ["../etc"] }, "a relative path without . and .."],
      [{ command: ["a"], timeout: 5 }, 'sandbox: "timeout"'],
      [{ command: ["a"], memory: 5 }, "memory: 5 bytes"],
    ];
    for (const [options, message] of cases) await expect(sandbox(options)).rejects.toThrow(message);
  });
});
