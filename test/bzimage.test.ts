/**
 * A distribution's bzImage. The repository has none: TSVM_TEST_BZIMAGE names one, or Debian's cloud kernel is installed
 * (apt-get install linux-image-cloud-amd64). On a software KVM it takes minutes to unpack itself, so there only
 * TSVM_TEST_BZIMAGE asks for this test.
 */
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { KVM, SOFTWARE_KVM, suite, type Need } from "./support/needs.ts";
import { collect, startTsvm, until } from "./support/tsvm.ts";

const LIMIT_MS = 300_000;

function findBzImage(): string | undefined {
  if (process.env.TSVM_TEST_BZIMAGE !== undefined) return process.env.TSVM_TEST_BZIMAGE;
  const slow = SOFTWARE_KVM() === undefined;
  const installed = readdirSync("/boot").find((name) => /^vmlinuz-.*-cloud-amd64$/.test(name));
  return slow || installed === undefined ? undefined : `/boot/${installed}`;
}

const bzImage = findBzImage();
const BZIMAGE: Need = () => (bzImage === undefined ? "a bzImage, which TSVM_TEST_BZIMAGE names" : undefined);

suite("a bzImage", [KVM, BZIMAGE], () => {
  test(
    "unpacks itself and says which Linux it is",
    async () => {
      // The decompressor prints nothing: the first words are the kernel's own.
      const early = "earlyprintk=serial,ttyS0,115200";
      const running = startTsvm(["boot", "-m", "256M", "-a", early, bzImage!], { limit: LIMIT_MS });
      try {
        const stdout = collect(running.stdout);
        await until("the kernel's first line", () => stdout.text.includes("Linux version"), {
          limit: LIMIT_MS - 10_000,
          detail: () => stdout.text,
        });
        expect(stdout.text).toMatch(/Linux version \d+\.\d+/);
      } finally {
        running.kill("SIGKILL");
        await running;
      }
    },
    LIMIT_MS,
  );
});
