/** Power off, reset and power button as a guest with ACPI sees them, with guests of a few bytes. */
import { expect, test } from "vitest";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import * as guests from "./support/tiny-guests.ts";
import {
  collect,
  finish,
  SLOWNESS,
  startTsvm,
  tsvm,
  tsvmJson,
  until,
  type RunResult,
} from "./support/tsvm.ts";

const files = scratch();
const guest = (name: keyof typeof guests): string =>
  files.path(`${name}.elf`, guests.pvhGuest(guests[name] as Uint8Array));

suite("ACPI", [KVM], () => {
  test.each([
    ["POWER_OFF_TWICE", "!", "shutdown"],
    ["POWER_OFF_BY_STRING", "", "shutdown"],
    ["ACPI_RESET", "!", "reset"],
  ] as const)("%s ends tsvm with 0", async (name, console, reason) => {
    const { report, result } = await tsvmJson(["boot", "-c", "2", guest(name)]);
    expect(result.status).toBe(0);
    expect(report).toMatchObject({ status: 0, reason, console, error: null, powerButton: "unused" });
  });

  test("is not there with --no-acpi", async () => {
    const result = await tsvm(["boot", "--no-acpi", "--timeout", "1s", guest("POWER_OFF_TWICE")]);
    expect(result).toMatchObject({ status: 124, stdout: "!?" });
  });

  /** Boots, waits for the guest's first byte, and sends signals. */
  async function signalled(
    name: keyof typeof guests,
    signals: readonly NodeJS.Signals[],
    options: readonly string[] = [],
  ): Promise<RunResult & { msAfterSignal: number }> {
    const running = startTsvm(["boot", ...options, guest(name)]);
    const stdout = collect(running.stdout);
    await until("the guest's first byte", () => stdout.text !== "");
    const start = performance.now();
    const stderr = collect(running.stderr);
    for (const [index, signal] of signals.entries()) {
      running.kill(signal);
      // Two signals at once may be taken for one.
      if (index === 0 && signals.length > 1) await until("the first message", () => stderr.text !== "");
    }
    const result = await finish(running);
    return { ...result, msAfterSignal: performance.now() - start };
  }

  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "%s presses the power button, and the guest powers off",
    async (signal) => {
      expect(await signalled("OBEYS_POWER_BUTTON", [signal])).toMatchObject({
        status: 0,
        stdout: "rb",
        stderr:
          "tsvm: pressed the guest's power button; it is forced off in 30 s, or at once by one more signal\n",
      });
    },
  );

  test("a guest that ignores its power button is forced off after the time limit", async () => {
    const result = await signalled("IGNORES_POWER_BUTTON", ["SIGTERM"], ["--shutdown-timeout", "700ms"]);
    expect(result).toMatchObject({
      status: 143,
      stdout: "r",
      stderr:
        "tsvm: pressed the guest's power button; it is forced off in 0.7 s, or at once by one more signal\n" +
        "tsvm: the guest ignored its power button for 0.7 s: forced off\n",
    });
    expect(result.msAfterSignal).toBeGreaterThan(650);
  });

  test("a guest that takes notice and goes on is forced off after the time limit", async () => {
    const result = await signalled("DECLINES_POWER_BUTTON", ["SIGINT"], ["--shutdown-timeout", "700ms"]);
    expect(result).toMatchObject({ status: 130, stdout: "rb" });
    expect(result.stderr).toContain(
      "tsvm: the guest was still there 0.7 s after its power button: forced off\n",
    );
  });

  test("a second signal forces it off at once", async () => {
    const result = await signalled("IGNORES_POWER_BUTTON", ["SIGTERM", "SIGTERM"]);
    expect(result).toMatchObject({ status: 143, stdout: "r" });
    expect(result.stderr).not.toContain("forced off\n");
    expect(result.msAfterSignal).toBeLessThan(5000 * SLOWNESS);
  });

  test("a guest that has not read the tables is ended at once", async () => {
    const result = await signalled("ONE_BYTE_AND_SPIN", ["SIGTERM"]);
    expect(result).toMatchObject({ status: 143, stdout: "!", stderr: "tsvm: ended by SIGTERM\n" });
    expect(result.msAfterSignal).toBeLessThan(5000 * SLOWNESS);
  });
});
