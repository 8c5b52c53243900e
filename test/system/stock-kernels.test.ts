/** Debian's kernels as shipped, on hardware KVM. */
import { beforeAll, expect, test } from "vitest";
import { suite } from "../support/needs.ts";
import { scratch } from "../support/scratch.ts";
import { bootStockGuest, stockGuest, type StockCase, type StockResult } from "../support/stock-guest.ts";
import { TEST_BED } from "../support/test-bed.ts";

const LIMIT_MS = 1_800_000;
const FACTS = `
echo userland with $(nproc) vCPUs
echo disk of $(cat /sys/block/vda/size) sectors
echo interrupts $(grep -c 'virtio0' /proc/interrupts)
cat /proc/cmdline
`;

const ordinary = (flavour: string, cpus: number): StockCase => ({
  name: `${flavour}-${cpus}`,
  options: `-c ${cpus}`,
  script: FACTS,
});

suite("Debian's cloud kernel", [TEST_BED], () => {
  const files = scratch();
  const cases: StockCase[] = [
    ordinary("cloud", 1),
    ordinary("cloud", 4),
    {
      name: "power-button",
      options: "-c 2",
      signal: { name: "TERM", awaited: "built-in shell" },
    },
    { name: "no-acpi", options: "--no-acpi -c 2", script: FACTS },
    { name: "no-virtio", options: "", boot: "-k /guest/vmlinuz" },
    { name: "no-serial", options: "-a 8250.nr_uarts=0 -t 15s", attempts: 1 },
  ];
  let results: Map<string, StockResult>;
  beforeAll(async () => {
    results = await bootStockGuest(stockGuest("cloud-amd64"), cases, files.directory);
  }, LIMIT_MS);

  test.each([1, 4])("boots with %d vCPUs to userland and to a clean poweroff", (cpus) => {
    expectCleanRun(results.get(`cloud-${cpus}`)!, cpus);
  });

  test("is given nothing but console and root, and what ends a machine", () => {
    const { report } = results.get("cloud-1")!;
    const parameters = report.commandLine
      .split(" ")
      .filter((word) => !/^(run|virtio_mmio\.device)=/.test(word));
    expect(parameters).toEqual(["console=ttyS0", "reboot=k", "panic=-1", "root=/dev/vda", "rw"]);
  });

  test("shuts down when its power button is pressed", () => {
    const { status, stderr, report, e2fsck } = results.get("power-button")!;
    expect(report.console).toContain("reboot: Power down");
    expect(stderr).toMatch(/^tsvm: pressed the guest's power button; .*\n$/);
    expect(status).toBe(0);
    expect(e2fsck, e2fsck.output).toMatchObject({ status: 0 });
  });

  test("finds no disk without ACPI, says so, and its panic is tsvm's", () => {
    const { status, report } = results.get("no-acpi")!;
    expect(report.console).toContain("/dev/vda did not appear");
    expect(status).toBe(121);
  });

  test("without an initrd has no driver for the disk, and panics", () => {
    const { status, report } = results.get("no-virtio")!;
    expect(report.panic).toMatch(/VFS: Unable to mount root fs/);
    expect(status).toBe(121);
  });

  test("without a serial port it says nothing, and the time limit ends it", () => {
    const { status, report } = results.get("no-serial")!;
    expect(report).toMatchObject({ reason: "stopped", console: "" });
    expect(status).toBe(124);
  });
});

suite("Debian's kernel for all machines", [TEST_BED], () => {
  const files = scratch();
  test(
    "boots with 2 vCPUs to userland and to a clean poweroff",
    async () => {
      const cases = [ordinary("amd64", 2)];
      const results = await bootStockGuest(stockGuest("amd64"), cases, files.directory);
      expectCleanRun(results.get("amd64-2")!, 2);
    },
    LIMIT_MS,
  );
});

function expectCleanRun({ report, status, stderr, e2fsck }: StockResult, cpus: number): void {
  expect(report.console).toContain(`userland with ${cpus} vCPUs`);
  expect(report.console).toContain("interrupts 1");
  expect(report.console).toContain("reboot: Power down");
  expect(report).toMatchObject({ status: 0, reason: "shutdown", panic: null, exits: { assist: 0 } });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(e2fsck, e2fsck.output).toMatchObject({ status: 0 });
}
