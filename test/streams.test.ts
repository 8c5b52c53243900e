/** tsvm's own standard streams when they misbehave. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { KVM, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { ENDLESS_LOOP, printAndReset, pvhGuest } from "./support/tiny-guests.ts";
import { SLOWNESS, startTsvm, tsvm } from "./support/tsvm.ts";

const MiB = 2 ** 20;
const files = scratch();
const hello = files.path("hello.elf", pvhGuest(printAndReset("hello\n")));
const spin = files.path("spin.elf", pvhGuest(ENDLESS_LOOP));

/** A shell that redirects the streams of what it becomes. */
const redirected = (redirections: string): string[] => ["sh", "-c", `exec "$@" ${redirections}`, "sh"];

suite("standard streams", [KVM], () => {
  test.each([
    ["boot", ["boot", hello]],
    ["boot --json", ["boot", "--json", hello]],
    ["doctor", ["doctor"]],
  ])("a full disk behind stdout is told and is a failure: %s", async (_, args) => {
    const result = await tsvm(args, { wrapper: redirected(">/dev/full"), limit: 20_000 * SLOWNESS });
    expect(result.stderr).toMatch(/^tsvm: .*no space left on device/i);
    expect(result.stderr).not.toMatch(/^\s+at /m);
    expect(result.status).toBe(125);
  });

  test("are not needed", async () => {
    const result = await tsvm(["boot", hello], {
      wrapper: redirected("<&- >&- 2>&-"),
      limit: 20_000 * SLOWNESS,
    });
    expect(result.status).toBe(0);
  });

  test("an endless stdin that the guest does not read stays where it is, not in tsvm's memory", async () => {
    const running = startTsvm(["boot", spin], {
      wrapper: redirected("</dev/zero"),
      limit: 20_000 * SLOWNESS,
    });
    try {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      const status = readFileSync(`/proc/${running.pid}/status`, "utf8");
      const resident = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
      expect(resident).toBeLessThan(250 * MiB);
    } finally {
      running.kill("SIGKILL");
      await running;
    }
  });
});
