/** Debian's cloud kernel as shipped, on hardware KVM: the short test; more of it in test/system. */
import { expect, test } from "vitest";
import { suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import { bootStockGuest, stockGuest } from "./support/stock-guest.ts";
import { TEST_BED } from "./support/test-bed.ts";

const files = scratch();
const LIMIT_MS = 1_800_000;

suite("Debian's cloud kernel", [TEST_BED], () => {
  test(
    "boots with 2 vCPUs, its root on virtio-blk, to userland and to a clean poweroff",
    async () => {
      const script = "echo userland with $(nproc) vCPUs; echo kept >/kept";
      const cases = [{ name: "cloud-2", options: "-c 2", script }];
      const results = await bootStockGuest(stockGuest("cloud-amd64"), cases, files.directory);
      const { report, status, stderr, e2fsck } = results.get("cloud-2")!;
      expect(report.console).toContain("userland with 2 vCPUs");
      expect(report.console).toContain("run= ended with status 0");
      expect(report.console).toContain("ACPI: PM: Preparing to enter system sleep state S5");
      expect(report).toMatchObject({ reason: "shutdown", panic: null, error: null, exits: { assist: 0 } });
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(e2fsck, e2fsck.output).toMatchObject({ status: 0 });
    },
    LIMIT_MS,
  );
});
