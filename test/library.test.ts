/** The library: many machines in one process, and no trace of them afterwards. */
import { afterAll, expect, test } from "vitest";
import { guestMappings, importLibrary, MiB, openFiles as countFiles } from "./support/library.ts";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { SLOWNESS } from "./support/tsvm.ts";
import { ENDLESS_LOOP, ONE_BYTE_AND_RESET, printAndReset, pvhGuest } from "./support/tiny-guests.ts";

const files = scratch();
const hello = files.path("hello.elf", pvhGuest(printAndReset("hello")));
const byte = files.path("byte.elf", pvhGuest(ONE_BYTE_AND_RESET));
const spin = files.path("spin.elf", pvhGuest(ENDLESS_LOOP));

const { Machine, TsvmError, releaseIdleWorkers } = await importLibrary();
afterAll(() => releaseIdleWorkers());

/** Files open in this process, those of threads that wait for the next machine aside. */
async function openFiles(): Promise<number> {
  await releaseIdleWorkers();
  return countFiles();
}

suite("the library", [KVM], () => {
  test("boots a machine and hands over its output", async () => {
    const machine = await Machine.boot({ cpus: 1, memory: 32 * MiB, kernel: hello });
    let console = "";
    machine.on("console", (bytes) => (console += bytes.toString()));
    const report = await machine.stopped;
    expect(report).toMatchObject({ reason: "reset", error: undefined, panic: undefined });
    expect(console).toBe("hello");
    const { start, loaded, firstEntry, firstExit, stopped } = report.timeline;
    const moments = [start, loaded, firstEntry!, firstExit!, stopped];
    expect(moments).toEqual(moments.toSorted((a, b) => a - b));
  });

  test("leaks neither files nor memory over 50 machines, one after the other", async () => {
    const bootOnce = async (): Promise<void> => {
      const machine = await Machine.boot({ cpus: 1, memory: 64 * MiB, kernel: byte });
      expect((await machine.stopped).reason).toBe("reset");
    };
    for (let i = 0; i < 10; i++) await bootOnce();
    const filesBefore = await openFiles();
    const memoryBefore = process.memoryUsage.rss();
    for (let i = 0; i < 50; i++) await bootOnce();
    expect(await openFiles()).toBe(filesBefore);
    expect(guestMappings()).toBe(0);
    expect(process.memoryUsage.rss() - memoryBefore).toBeLessThan(40 * MiB);
  });

  test("runs 8 machines at a time", async () => {
    const filesBefore = await openFiles();
    const reports = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const machine = await Machine.boot({ cpus: 1, memory: 64 * MiB, kernel: byte });
        let console = "";
        machine.on("console", (bytes) => (console += bytes.toString()));
        return { reason: (await machine.stopped).reason, console };
      }),
    );
    expect(reports).toEqual(Array.from({ length: 8 }, () => ({ reason: "reset", console: "!" })));
    // Threads that were started for the crowd close their files as they end.
    await expect.poll(openFiles, { timeout: 5000 }).toBe(filesBefore);
  });

  test.each([1, 2, 4])("stops a guest of %i vCPUs that spins, quickly", async (cpus) => {
    const machine = await Machine.boot({ cpus, memory: 32 * MiB, kernel: spin });
    expect(guestMappings()).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const start = performance.now();
    const report = await machine.stop();
    expect(report.reason).toBe("stopped");
    expect(performance.now() - start).toBeLessThan(1000 * SLOWNESS);
  });

  test("stops a machine that has only just been started, and again one that has ended", async () => {
    const filesBefore = await openFiles();
    for (let i = 0; i < 10; i++) {
      const machine = await Machine.boot({ cpus: 2, memory: 32 * MiB, kernel: spin });
      const [first, second] = await Promise.all([machine.stop(), machine.stop()]);
      expect(first.reason).toBe("stopped");
      expect(second).toBe(first);
      expect(await machine.stop()).toBe(first);
    }
    await expect.poll(openFiles, { timeout: 5000 }).toBe(filesBefore);
  });

  test("leaves nothing behind where a machine cannot be made", async () => {
    const filesBefore = await openFiles();
    const bad = [
      { kernel: "/nonexistent" },
      { kernel: hello, initrd: "/nonexistent" },
      { kernel: hello, disks: [{ path: "/nonexistent" }] },
      { kernel: hello, disks: [{ path: hello }, { path: "/nonexistent" }] },
      { kernel: hello, cpus: 0 },
      { kernel: hello, cpus: 1000 },
      { kernel: hello, memory: 2 ** 60 },
    ];
    for (const wrong of bad) {
      await expect(Machine.boot({ cpus: 1, memory: 32 * MiB, ...wrong })).rejects.toBeInstanceOf(TsvmError);
    }
    expect(await openFiles()).toBe(filesBefore);
  });
});
