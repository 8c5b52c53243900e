/**
 * A distribution's bzImage. The repository has none: TSVM_TEST_BZIMAGE names one, or Debian's cloud kernel is installed
 * (apt-get install linux-image-cloud-amd64).
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";
import type * as Library from "../src/index.ts";
import { KVM, SOFTWARE_KVM, suite, type Need } from "./support/needs.ts";
import { DIST } from "./support/paths.ts";
import { until } from "./support/tsvm.ts";

const LIBRARY = pathToFileURL(join(DIST, "index.js")).href;
const { Machine, releaseIdleWorkers } = (await import(LIBRARY)) as typeof Library;
afterAll(() => releaseIdleWorkers());

const MiB = 2 ** 20;
/** Unpacking takes a second on hardware; on a software KVM it takes minutes, and a look at it must do. */
const SLOW = SOFTWARE_KVM() === undefined;
const LOOK_MS = 8000;

function findBzImage(): string | undefined {
  if (process.env.TSVM_TEST_BZIMAGE !== undefined) return process.env.TSVM_TEST_BZIMAGE;
  const names = existsSync("/boot") ? readdirSync("/boot") : [];
  const installed = names.find((name) => /^vmlinuz-.*-cloud-amd64$/.test(name));
  return installed === undefined ? undefined : `/boot/${installed}`;
}

const bzImage = findBzImage();
const BZIMAGE: Need = () => (bzImage === undefined ? "a bzImage, which TSVM_TEST_BZIMAGE names" : undefined);

suite("a bzImage", [KVM, BZIMAGE], () => {
  test(SLOW ? "is unpacking itself" : "unpacks itself and says which Linux it is", async () => {
    const machine = await Machine.boot({
      cpus: 1,
      memory: 512 * MiB,
      kernel: bzImage!,
      append: "earlyprintk=serial,ttyS0,115200",
    });
    let console = "";
    let ended = false;
    machine.on("console", (bytes) => (console += bytes.toString("latin1")));
    void machine.stopped.then(() => (ended = true));
    try {
      if (SLOW) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
        machine.probe();
        await new Promise((resolve) => setTimeout(resolve, 100));
        expect(ended).toBe(false);
        // It was loaded to 16 MiB, and works where it is or where it has copied itself to.
        expect(machine.instructionPointers[0]).toBeGreaterThan(16 * MiB);
        expect(machine.instructionPointers[0]).toBeLessThan(512 * MiB);
      } else {
        await until("the kernel's first line", () => ended || /Linux version \d+\.\d+/.test(console));
        expect(console).toMatch(/Linux version \d+\.\d+/);
      }
    } finally {
      await machine.stop();
    }
  });
});
