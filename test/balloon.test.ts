/** The memory balloon with the bundled Linux: what the guest gives up, and what it tells to be free. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Machine } from "../src/machine/machine.ts";
import type { MachineStats } from "../src/machine/stats.ts";
import { KVM, suite } from "./support/needs.ts";
import { BOOT_LIMIT_MS } from "./support/tsvm.ts";

const MiB = 2 ** 20;
/** Linux tells of free pages every two seconds. */
const PATIENCE_MS = 60_000;

/** The first statistics that are as wanted. */
async function statsWhen(
  machine: Machine,
  wanted: (stats: MachineStats) => boolean,
  patience = PATIENCE_MS,
): Promise<MachineStats> {
  for (const end = Date.now() + patience; ; await sleep(100)) {
    const stats = machine.stats();
    if (wanted(stats)) return stats;
    if (Date.now() > end) throw new Error(`still ${JSON.stringify(stats.balloon)}`);
  }
}

suite("the memory balloon", [KVM], () => {
  test(
    "takes memory from the guest and gives it back",
    async () => {
      await using machine = await Machine.boot({ cpus: 1, memory: 96 * MiB, balloon: { size: 16 * MiB } });
      await machine.waitForConsole("# ", { timeout: BOOT_LIMIT_MS });
      const small = await statsWhen(machine, ({ balloon }) => balloon?.actual === 16 * MiB);
      expect(small.balloon).toMatchObject({ target: 16 * MiB, connected: true, errors: 0 });
      const before = machine.stats().memory.resident;
      // Pages with something in them, which the balloon is to be blown up by.
      machine.writeConsole(
        Buffer.from("dd if=/dev/zero of=/dev/null bs=4M count=1; echo touched $((40+2))\n"),
      );
      await machine.waitForConsole("touched 42", { timeout: BOOT_LIMIT_MS });
      const touched = machine.stats().memory.resident;
      expect(touched - before).toBeGreaterThan(3 * MiB);
      machine.setBalloon(72 * MiB);
      // The pages that are left to be taken are those that have been used.
      const large = await statsWhen(machine, ({ balloon }) => balloon?.actual === 72 * MiB);
      expect(large.memory.resident).toBeLessThan(touched - 2 * MiB);
      expect(large.balloon!.inflatedBytes).toBe(72 * MiB);
      machine.setBalloon(0);
      const none = await statsWhen(machine, ({ balloon }) => balloon?.actual === 0);
      expect(none.balloon!.deflatedBytes).toBe(72 * MiB);
      expect(none.balloon!.errors).toBe(0);
      const { balloon } = await statsWhen(machine, (stats) => (stats.balloon?.guest?.free ?? 0) > 64 * MiB);
      expect(balloon!.guest!.total).toBeGreaterThan(80 * MiB);
      expect(balloon!.guest!.age).toBeLessThan(PATIENCE_MS);
      machine.writeConsole(Buffer.from("dd if=/dev/zero bs=1M count=1 2>/dev/null | sha1sum\n"));
      const [sum] = await machine.waitForConsole(/[0-9a-f]{40}/, { timeout: BOOT_LIMIT_MS });
      expect(sum).toBe("3b71f43ff30f4b15b5cd85dd9e95ebc7e84eb5a3");
    },
    3 * BOOT_LIMIT_MS + 4 * PATIENCE_MS,
  );

  test(
    "has the host take back what the guest has freed",
    async () => {
      await using machine = await Machine.boot({
        cpus: 1,
        memory: 96 * MiB,
        balloon: {},
        command: {
          argv: ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=8M count=1; echo touched; sleep 1000"],
        },
      });
      let filled = false;
      machine.on("stdout", () => (filled = true));
      let peak = 0;
      const free = await statsWhen(
        machine,
        ({ memory }) => {
          peak = Math.max(peak, memory.resident);
          return filled && memory.resident < peak - 5 * MiB;
        },
        BOOT_LIMIT_MS + PATIENCE_MS,
      );
      expect(free.balloon!.reportedBytes).toBeGreaterThan(32 * MiB);
      expect(free.balloon).toMatchObject({ target: 0, actual: 0, inflatedBytes: 0, errors: 0 });
    },
    BOOT_LIMIT_MS + 2 * PATIENCE_MS,
  );

  test("is not there unless asked for, and then there is nothing to set", async () => {
    await using machine = await Machine.boot({ cpus: 1, memory: 64 * MiB, balloon: false });
    expect(machine.stats().balloon).toBeUndefined();
    expect(() => machine.setBalloon(0)).toThrow("the machine has no balloon");
    expect(() => machine.setBalloon(65 * MiB)).toThrow(
      "setBalloon: bytes: 68157440 is not a number of bytes from 0 to the 67108864 of the machine",
    );
    await machine.stop();
    expect(() => machine.setBalloon(0)).toThrow("setBalloon(): the machine has ended");
  });
});
