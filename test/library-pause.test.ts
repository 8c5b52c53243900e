/** Pausing and resuming: whatever a processor is doing, and whatever else happens meanwhile. */
import { afterAll, expect, test } from "vitest";
import type { Machine as MachineType } from "../src/index.ts";
import { importLibrary, MiB } from "./support/library.ts";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import * as guests from "./support/tiny-guests.ts";

const { Machine, MachineStateError, releaseIdleWorkers } = await importLibrary();
afterAll(() => releaseIdleWorkers());

const files = scratch();
const guest = (name: string, code: Uint8Array): string => files.path(`${name}.elf`, guests.pvhGuest(code));
const spin = guest("spin", guests.ENDLESS_LOOP);
const idle = guest("idle", guests.IDLE);
const halt = guest("halt", guests.ONE_BYTE_AND_HALT);
const printer = guest("printer", guests.PRINT_FOREVER);
const echo = guest("echo", guests.ECHO_LINE);
const button = guest("button", guests.OBEYS_POWER_BUTTON);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const boot = (kernel: string, cpus = 1): Promise<MachineType> =>
  Machine.boot({ cpus, memory: 32 * MiB, kernel });

/** Until every vCPU's thread has used CPU time: it is in the guest, or waits there to be started. */
async function untilRunning(machine: MachineType): Promise<void> {
  await expect
    .poll(() => machine.stats().cpuTime.vcpus.every((ms) => ms > 0), { timeout: 10_000 })
    .toBe(true);
}

suite("a paused machine", [KVM], () => {
  test.each([
    ["spins", spin, 1],
    ["spins, with processors that wait to be started", spin, 4],
    ["waits for an interrupt", idle, 2],
  ])("uses no CPU time, and goes on when it is resumed: a guest that %s", async (_, kernel, cpus) => {
    await using machine = await boot(kernel, cpus);
    await untilRunning(machine);
    expect(machine.state).toBe("running");
    for (let round = 0; round < 3; round++) {
      await machine.pause();
      expect(machine.state).toBe("paused");
      const before = machine.stats().cpuTime.vcpus;
      await sleep(100);
      const after = machine.stats().cpuTime.vcpus;
      // A thread that has said that it is paused has still to fall asleep.
      for (const [index, used] of after.entries()) expect(used - before[index]!).toBeLessThan(5);
      await machine.resume();
      expect(machine.state).toBe("running");
      if (kernel === spin) {
        await expect
          .poll(() => machine.stats().cpuTime.vcpus[0]!, { timeout: 10_000 })
          .toBeGreaterThan(before[0]!);
      }
    }
  });

  test("says nothing, and loses nothing of what it was saying", async () => {
    await using machine = await boot(printer);
    let bytes = 0;
    machine.on("console", (chunk) => (bytes += chunk.length));
    await expect.poll(() => bytes, { timeout: 10_000 }).toBeGreaterThan(0);
    await machine.pause();
    await sleep(50); // what is in the pipe still comes
    const then = bytes;
    await sleep(100);
    expect(bytes).toBe(then);
    await machine.resume();
    await expect.poll(() => bytes, { timeout: 10_000 }).toBeGreaterThan(then);
  });

  test("can be one whose processor waits for room in a full pipe", async () => {
    await using machine = await boot(printer);
    machine.pauseOutput();
    await sleep(300);
    await machine.pause();
    expect(machine.state).toBe("paused");
    machine.resumeOutput();
    await machine.resume();
    await machine.waitForConsole("....", { timeout: 10_000 });
  });

  test("can be one that has only just been started", async () => {
    for (const cpus of [1, 3]) {
      await using machine = await boot(spin, cpus);
      await machine.pause();
      expect(machine.state).toBe("paused");
    }
  });

  test("is not taken for one that has halted for good, which it is once it goes on", async () => {
    await using machine = await boot(halt, 2);
    await machine.ready;
    await machine.pause();
    await sleep(400);
    expect(machine.state).toBe("paused");
    await machine.resume();
    expect((await machine.stopped).reason).toBe("halt");
  });

  test("keeps what is typed", async () => {
    await using machine = await boot(echo);
    await machine.pause();
    machine.writeConsole(Buffer.from("kept\n"));
    await machine.resume();
    await machine.waitForConsole("kept", { timeout: 20_000 });
    expect((await machine.stopped).reason).toBe("reset");
  });

  test("can be stopped", async () => {
    const machine = await boot(spin, 2);
    await machine.pause();
    expect((await machine.stop()).reason).toBe("stopped");
    expect(machine.state).toBe("stopped");
  });

  test("goes on to be shut down", async () => {
    const machine = await boot(button);
    await machine.waitForConsole("r");
    await machine.pause();
    const report = await machine.shutdown({ timeout: 20_000 });
    expect(report).toMatchObject({ reason: "shutdown", powerButton: "noticed" });
  });

  test("tells by events", async () => {
    await using machine = await boot(spin);
    const events: string[] = [];
    machine.on("paused", () => events.push(`paused ${machine.state}`));
    machine.on("resumed", () => events.push(`resumed ${machine.state}`));
    machine.on("stopped", ({ reason }) => events.push(`stopped ${machine.state} ${reason}`));
    await Promise.all([machine.pause(), machine.pause()]);
    await machine.pause();
    await Promise.all([machine.resume(), machine.resume()]);
    await machine.resume();
    await machine.stop();
    expect(events).toEqual(["paused paused", "resumed running", "stopped stopped stopped"]);
  });
});

suite("pause and resume", [KVM], () => {
  test("take effect in the order in which they are called", async () => {
    await using machine = await boot(spin, 2);
    for (let round = 0; round < 50; round++) {
      void machine.pause();
      await machine.resume();
      expect(machine.state).toBe("running");
    }
    await Promise.all([machine.pause(), machine.resume(), machine.pause()]);
  });

  test("are errors once a machine has ended, or ends meanwhile", async () => {
    const machine = await boot(spin);
    const pausing = machine.pause();
    const stopping = machine.stop();
    expect(machine.state).toBe("stopping");
    await expect(pausing).rejects.toBeInstanceOf(MachineStateError);
    await stopping;
    for (const call of [machine.pause(), machine.resume()]) {
      await expect(call).rejects.toMatchObject({
        name: "MachineStateError",
        code: "ERR_MACHINE_STATE",
        message: expect.stringMatching(/^(pause|resume)\(\): the machine has ended$/) as string,
      });
    }
  });
});
