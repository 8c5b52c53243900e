/** Ctrl-C and kill without a terminal in between. */
import { expect, test } from "vitest";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { ENDLESS_LOOP, pvhGuest } from "./support/tiny-guests.ts";
import { collect, finish, SLOWNESS, startTsvm, until } from "./support/tsvm.ts";

const files = scratch();
const spin = files.path("spin.elf", pvhGuest(ENDLESS_LOOP));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

suite("a signal", [KVM], () => {
  test.each([
    ["SIGINT", 130, "a tiny guest", [spin]],
    ["SIGTERM", 143, "a tiny guest", [spin]],
    ["SIGHUP", 129, "a tiny guest", [spin]],
    ["SIGINT", 130, "Linux", ["-m", "64M"]],
    ["SIGTERM", 143, "Linux with a command", ["-m", "64M", "--", "true"]],
  ] as const)("%s ends tsvm with %i at once while it boots %s", async (signal, status, _, args) => {
    const running = startTsvm(["boot", ...args]);
    await pause(1000 * SLOWNESS);
    const start = performance.now();
    running.kill(signal);
    expect(await finish(running)).toMatchObject({ status, stdout: "", stderr: `tsvm: ended by ${signal}\n` });
    expect(performance.now() - start).toBeLessThan(1500 * SLOWNESS);
  });

  test("SIGINT before the command has started ends tsvm with 130, after a moment for the command to hear of it", async () => {
    const running = startTsvm(["boot", "-m", "64M", "--", "true"]);
    await pause(1000 * SLOWNESS);
    const start = performance.now();
    running.kill("SIGINT");
    const { stderr, ...result } = await finish(running);
    expect(result).toMatchObject({ status: 130, stdout: "" });
    // Nothing to say where the command has heard of it and died of it.
    expect(stderr).toMatch(/^(tsvm: ended by SIGINT\n)?$/);
    expect(performance.now() - start).toBeLessThan(3500 * SLOWNESS);
  });

  test("SIGINT is for the command in the guest, where it has had its way", async () => {
    const script = "trap 'echo trapped; exit 3' INT; echo ready; while :; do sleep 1; done";
    const running = startTsvm(["boot", "-m", "64M", "--", "sh", "-c", script]);
    const stdout = collect(running.stdout);
    await until("the command", () => stdout.text.includes("ready\n"));
    running.kill("SIGINT");
    expect(await finish(running)).toMatchObject({ status: 3, stdout: "ready\ntrapped\n", stderr: "" });
  });

  test("a second SIGINT ends the machine of a command that does not listen", async () => {
    const script = "trap '' INT; echo ready; sleep 100";
    const running = startTsvm(["boot", "-m", "64M", "--", "sh", "-c", script]);
    const stdout = collect(running.stdout);
    await until("the command", () => stdout.text.includes("ready\n"));
    running.kill("SIGINT");
    await pause(300 * SLOWNESS);
    const start = performance.now();
    running.kill("SIGINT");
    expect(await finish(running)).toMatchObject({
      status: 130,
      stdout: "ready\n",
      stderr: "tsvm: ended by the second signal\n",
    });
    expect(performance.now() - start).toBeLessThan(1500 * SLOWNESS);
  });
});
