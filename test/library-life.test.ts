/** What a program can do with a machine beside running it, and what a machine that dies does to the program. */
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { Worker } from "node:worker_threads";
import { afterAll, expect, test } from "vitest";
import type { Machine as MachineType } from "../src/index.ts";
import { guestMappings, importLibrary, MiB, openFiles } from "./support/library.ts";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import * as guests from "./support/tiny-guests.ts";

const library = await importLibrary();
const { ArgumentError, Machine, MachineEndedError, MachineTimeoutError, releaseIdleWorkers } = library;
afterAll(() => releaseIdleWorkers());

const files = scratch();
const guest = (name: string, code: Uint8Array): string => files.path(`${name}.elf`, guests.pvhGuest(code));
const spin = guest("spin", guests.ENDLESS_LOOP);
const idle = guest("idle", guests.IDLE);
const hello = guest("hello", guests.printAndReset("hello, world\n"));
const byte = guest("byte", guests.ONE_BYTE_AND_RESET);
const tripleFault = guest("triple-fault", guests.ONE_BYTE_AND_TRIPLE_FAULT);
const unsupported = guest("unsupported", guests.UNSUPPORTED);
const printer = guest("printer", guests.PRINT_FOREVER);
const echo = guest("echo", guests.ECHO_LINE);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const boot = (kernel: string, options: Parameters<typeof Machine.boot>[1] = {}): Promise<MachineType> =>
  Machine.boot({ cpus: 1, memory: 32 * MiB, kernel }, options);

suite("an argument that makes no sense", [KVM], () => {
  test("is refused by name, and changes nothing", async () => {
    const bad = (value: unknown): never => value as never;
    await expect(boot(spin, bad({ timeout: 5 }))).rejects.toThrow(
      'Machine.boot: "timeout" is not an option: they are windowSize, signal, readyPattern',
    );
    await expect(boot(spin, { windowSize: { rows: 0, columns: 80 } })).rejects.toThrow(ArgumentError);
    expect(guestMappings()).toBe(0);
    await using machine = await boot(spin);
    await expect(machine.waitForConsole("x", bad({ timeout: "1s" }))).rejects.toThrow(
      'waitForConsole: timeout: "1s" is not a number of milliseconds',
    );
    await expect(machine.waitForConsole(bad(undefined))).rejects.toThrow(
      "waitForConsole: pattern: undefined",
    );
    await expect(machine.stop(bad({ timeout: -1 }))).rejects.toMatchObject({
      code: "ERR_ARGUMENT",
      hint: "shutdown({ timeout }) gives the guest time",
    });
    await expect(machine.shutdown({ timeout: -1 })).rejects.toThrow("shutdown: timeout: -1 is not");
    expect(() => machine.writeConsole(bad("text"))).toThrow("writeConsole: bytes");
    expect(() => machine.writeStdin(bad("text"))).toThrow("writeStdin: bytes");
    expect(() => machine.signalCommand(bad("SIGTERM"))).toThrow("signalCommand: signal");
    expect(() => machine.resizeConsole(bad({ rows: 5 }))).toThrow("resizeConsole: size");
    expect(() => library.warmUpWorkers(Infinity)).toThrow("warmUpWorkers: count");
    expect(() => library.imageInfo(bad(5))).toThrow("imageInfo: path");
    expect(machine.state).toBe("running");
  });
});

suite("an AbortSignal", [KVM], () => {
  test("that is aborted already keeps a machine from being made", async () => {
    const reason = new Error("changed my mind");
    await expect(boot(spin, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(guestMappings()).toBe(0);
  });

  test("that is aborted on the way leaves nothing behind", async () => {
    await releaseIdleWorkers();
    const before = openFiles();
    for (let turns = 0; turns < 4; turns++) {
      const controller = new AbortController();
      const booting = boot(spin, { signal: controller.signal });
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      controller.abort();
      const outcome = await booting.then(
        (machine) => machine.stopped.then(({ reason }) => reason),
        (error: Error) => error.name,
      );
      expect(outcome).toMatch(/^(AbortError|stopped)$/);
    }
    expect(guestMappings()).toBe(0);
    await releaseIdleWorkers();
    await expect.poll(openFiles, { timeout: 5000 }).toBe(before);
  });

  test("stops the machine later", async () => {
    const controller = new AbortController();
    const machine = await boot(spin, { signal: controller.signal });
    controller.abort();
    expect((await machine.stopped).reason).toBe("stopped");
  });

  test("is a time limit, and does not matter once the machine has ended", async () => {
    const machine = await boot(spin, { signal: AbortSignal.timeout(200) });
    expect((await machine.stopped).reason).toBe("stopped");
    const controller = new AbortController();
    const other = await boot(byte, { signal: controller.signal });
    expect((await other.stopped).reason).toBe("reset");
    controller.abort();
    expect(other.state).toBe("stopped");
  });
});

suite("await using", [KVM], () => {
  test("stops the machine at the end of the block, whatever way that ends", async () => {
    let kept: MachineType | undefined;
    const use = async (): Promise<never> => {
      await using machine = await boot(spin);
      kept = machine;
      throw new Error("no luck");
    };
    await expect(use()).rejects.toThrow("no luck");
    expect(kept?.state).toBe("stopped");
    expect((await kept?.stopped)?.reason).toBe("stopped");
  });
});

suite("ready", [KVM], () => {
  test("is the first byte on the console of a guest that boots by itself", async () => {
    const machine = await boot(hello);
    await machine.ready;
    await machine.stopped;
    await machine.ready;
  });

  test("is what the program says it is", async () => {
    const machine = await boot(hello, { readyPattern: /wor.d/ });
    await machine.ready;
    expect((await machine.stopped).timeline.firstConsoleByte).toBeDefined();
  });

  test("rejects if the machine ends before, which nobody has to hear", async () => {
    const machine = await boot(hello, { readyPattern: "login:" });
    void machine.ready; // an unhandled rejection would fail this test
    const report = await machine.stopped;
    await sleep(10);
    await expect(machine.ready).rejects.toMatchObject({
      code: "ERR_MACHINE_ENDED",
      message: "the machine ended (reset) before it was ready",
      report,
    });
  });
});

suite("waitForConsole", [KVM], () => {
  test("finds what comes and what came, with its groups", async () => {
    const machine = await boot(hello);
    const [, word] = await machine.waitForConsole(/(\w+)\n/);
    expect(word).toBe("world");
    await machine.stopped;
  });

  test("goes with typing on the console", async () => {
    const machine = await boot(echo);
    machine.writeConsole(Buffer.from("one "));
    await machine.waitForConsole("one");
    machine.writeConsole(Buffer.from("two\n"));
    expect((await machine.waitForConsole(/t.o/)).input).not.toContain("one");
    expect((await machine.stopped).reason).toBe("reset");
  });

  test("gives up in time, by a signal, and at the end of the machine", async () => {
    const machine = await boot(idle);
    await expect(machine.waitForConsole("never", { timeout: 50 })).rejects.toBeInstanceOf(
      MachineTimeoutError,
    );
    await expect(machine.waitForConsole("never", { timeout: 50 })).rejects.toThrow(
      'the console showed "never": not within 50 ms',
    );
    const controller = new AbortController();
    const aborted = machine.waitForConsole(/never/, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    const ended = machine.waitForConsole(/never/i);
    await machine.stop();
    await expect(ended).rejects.toBeInstanceOf(MachineEndedError);
    await expect(ended).rejects.toThrow("the machine ended (stopped) before the console showed /never/i");
    await expect(machine.waitForConsole("never")).rejects.toBeInstanceOf(MachineEndedError);
  });
});

suite("streams", [KVM], () => {
  test("give the console's bytes and end with the machine", async () => {
    const machine = await boot(hello);
    expect(await text(machine.console)).toBe("hello, world\n");
    expect(machine.console.destroyed).toBe(true);
  });

  test("take what is typed", async () => {
    const machine = await boot(echo);
    machine.console.end("typed\n");
    expect(await text(machine.console)).toBe("typed\n");
  });

  test("that nobody reads make the guest wait, and can still be read after the end", async () => {
    const machine = await boot(printer);
    const stream = machine.console;
    const used = (): number => machine.exits.io;
    await expect.poll(used, { timeout: 20_000 }).toBeGreaterThan(0);
    let before = -1;
    // The stream's 64 KiB, the socket's and the pipe's: then nothing moves any more.
    await expect
      .poll(
        () => {
          const stands = used() === before;
          before = used();
          return stands;
        },
        { timeout: 60_000, interval: 300 },
      )
      .toBe(true);
    expect(stream.readableLength).toBeLessThan(256 * 1024);
    const report = await machine.stop();
    const all = await text(stream);
    expect(all).toMatch(/^\.+$/);
    expect(all.length).toBe(report.exits.io);
  });

  test("are over where they are first asked for after the end", async () => {
    const machine = await boot(byte);
    await machine.stopped;
    expect(await text(machine.stdout)).toBe("");
    expect(await text(machine.console)).toBe("");
    expect(machine.stdin.destroyed).toBe(true);
  });

  test("swallow what comes too late", async () => {
    const machine = await boot(byte);
    const { console: stream, stdin } = machine;
    await machine.stopped;
    stream.write("late");
    stdin.write("late");
    machine.writeConsole(Buffer.from("late"));
    machine.writeStdin(Buffer.from("late"));
    await sleep(20); // an error event would fail this test
    stream.destroy();
  });
});

suite("stats", [KVM], () => {
  test("tell time, memory and exits, and stay after the end", async () => {
    const machine = await boot(hello);
    const { uptime, memory } = machine.stats();
    expect(uptime).toBeGreaterThanOrEqual(0);
    expect(memory.size).toBe(32 * MiB);
    expect(memory.resident).toBeGreaterThan(0);
    expect(memory.resident).toBeLessThan(MiB);
    const report = await machine.stopped;
    expect(machine.stats()).toBe(report.stats);
    expect(report.stats.uptime).toBeGreaterThan(0);
    expect(report.stats.exits).toEqual(report.exits);
    const { total, vcpus, io } = report.stats.cpuTime;
    expect(vcpus).toHaveLength(1);
    expect(vcpus[0]).toBeGreaterThan(0);
    expect(total).toBeCloseTo(vcpus[0]! + io, 6);
  });

  test("do not count what a thread did for another machine", async () => {
    const first = await boot(spin);
    await expect.poll(() => first.stats().cpuTime.total, { timeout: 30_000 }).toBeGreaterThan(300);
    await first.stop();
    const second = await boot(idle);
    await expect.poll(() => second.stats().uptime, { timeout: 10_000 }).toBeGreaterThan(0);
    expect((await second.stop()).stats.cpuTime.total).toBeLessThan(300);
  });
});

suite("a machine that dies", [KVM], () => {
  test.each([
    ["in a triple fault", tripleFault, { reason: "triple-fault" }],
    ["of what nobody can carry out", unsupported, { reason: "crash" }],
  ])("%s is a report, and the next one boots", async (_, kernel, expected) => {
    expect(await (await boot(kernel)).stopped).toMatchObject(expected);
    expect((await (await boot(byte)).stopped).reason).toBe("reset");
  });

  test.each([
    ["of a processor that is in the guest", idle, 0],
    ["of a second processor", spin, 1],
  ])(
    "because of a thread that dies, one %s, is a report and leaves nothing behind",
    async (_, kernel, index) => {
      await releaseIdleWorkers();
      const before = openFiles();
      const workers: Worker[] = [];
      const { postMessage } = Worker.prototype;
      Worker.prototype.postMessage = function (this: Worker, ...args: Parameters<typeof postMessage>) {
        workers.push(this);
        postMessage.apply(this, args);
      } as typeof postMessage;
      let machine: MachineType;
      try {
        machine = await Machine.boot({ cpus: 2, memory: 32 * MiB, kernel });
        await expect
          .poll(() => machine.stats().cpuTime.vcpus.every((ms) => ms > 0), { timeout: 10_000 })
          .toBe(true);
      } finally {
        Worker.prototype.postMessage = postMessage;
      }
      void workers[index]!.terminate();
      const report = await machine.stopped;
      expect(report).toMatchObject({ reason: "crash", error: { code: "ERR_INTERNAL" } });
      expect(report.error?.message).toMatch(/a thread of the machine died/);
      expect(guestMappings()).toBe(0);
      await releaseIdleWorkers();
      await expect.poll(openFiles, { timeout: 5000 }).toBe(before);
    },
  );
});

suite("twenty machines in one program", [KVM], () => {
  test("start at once, none failing, while the program goes on; and end", async () => {
    // Boots between two turns of the event loop.
    let [booted, mostAtOnce] = [0, 0];
    const count = (): void => {
      mostAtOnce = Math.max(mostAtOnce, booted);
      booted = 0;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    const run = async (): Promise<string> => {
      const machine = await boot(hello);
      booted++;
      return text(machine.console);
    };
    const consoles = await Promise.all(Array.from({ length: 20 }, run));
    clearImmediate(timer);
    expect(consoles).toEqual(Array.from({ length: 20 }, () => "hello, world\n"));
    expect(mostAtOnce).toBeLessThan(10);
  });

  test("run side by side, are paused and resumed, and leave nothing behind", async () => {
    await releaseIdleWorkers();
    const before = openFiles();
    const machines = await Promise.all(Array.from({ length: 20 }, () => boot(idle)));
    await Promise.all(machines.map((machine) => machine.pause()));
    expect(new Set(machines.map(({ state }) => state))).toEqual(new Set(["paused"]));
    await Promise.all(machines.slice(0, 10).map((machine) => machine.resume()));
    const reports = await Promise.all(machines.map((machine) => machine.stop()));
    expect(new Set(reports.map(({ reason }) => reason))).toEqual(new Set(["stopped"]));
    expect(guestMappings()).toBe(0);
    await releaseIdleWorkers();
    await expect.poll(openFiles, { timeout: 10_000 }).toBe(before);
  });
});

suite("a stopped event", [KVM], () => {
  test("comes with the report", async () => {
    const machine = await boot(byte);
    const [report] = (await once(machine, "stopped")) as [unknown];
    expect(report).toBe(await machine.stopped);
  });
});
