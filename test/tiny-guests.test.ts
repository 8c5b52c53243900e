/** Guests of a few bytes: how a machine ends, and what it costs. */
import { totalmem } from "node:os";
import { expect, test } from "vitest";
import { KVM, SOFTWARE_KVM, check, suite } from "./support/needs.ts";
import { scratch } from "./support/scratch.ts";
import * as guests from "./support/tiny-guests.ts";
import { SLOWNESS, tsvm, tsvmJson, type JsonReport } from "./support/tsvm.ts";

const GiB = 2 ** 30;
const files = scratch();

function guest(name: string, code: Uint8Array): string {
  return files.path(`${name}.elf`, guests.pvhGuest(code));
}

suite("a tiny guest", [KVM], () => {
  test("prints on the serial port, and its reset ends tsvm with 0", async () => {
    const result = await tsvm(["boot", guest("print", guests.printAndReset("Hello, world!\n"))]);
    expect(result).toMatchObject({ status: 0, stdout: "Hello, world!\n", stderr: "" });
  });

  test("prints a string with one rep outsb", async () => {
    const text = "0123456789".repeat(100);
    const result = await tsvm(["boot", guest("string", guests.printStringAndReset(text))]);
    expect(result).toMatchObject({ status: 0, stdout: text, stderr: "" });
  });

  test("reads on the serial port what comes to tsvm's stdin", async () => {
    const result = await tsvm(["boot", guest("echo", guests.ECHO_LINE)], {
      input: "a line that is longer than a FIFO\n",
    });
    expect(result).toMatchObject({ status: 0, stdout: "a line that is longer than a FIFO\n", stderr: "" });
  });

  test("prints nothing with --no-console", async () => {
    const result = await tsvm(["boot", "--no-console", guest("quiet", guests.ONE_BYTE_AND_RESET)]);
    expect(result).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });

  test("that halts with interrupts off ends with 0", async () => {
    const { report, result } = await tsvmJson(["boot", guest("halt", guests.ONE_BYTE_AND_HALT)]);
    expect(result.status).toBe(0);
    expect(report).toMatchObject({ status: 0, reason: "halt", console: "!", error: null });
  });

  test("with a triple fault ends with 122 and says so", async () => {
    const result = await tsvm(["boot", guest("triple", guests.ONE_BYTE_AND_TRIPLE_FAULT)]);
    expect(result).toMatchObject({
      status: 122,
      stdout: "!",
      stderr: "tsvm: the guest ended in a triple fault (it could not handle an exception)\n",
    });
  });

  test("that spins is ended by --timeout with 124", async () => {
    const result = await tsvm(["boot", "--timeout", "500ms", guest("spin", guests.ENDLESS_LOOP)]);
    expect(result).toMatchObject({
      status: 124,
      stdout: "",
      stderr:
        "tsvm: ended after 0.5 s, the --timeout\n" +
        "  → the guest never printed anything: its kernel needs a driver for the serial port (CONFIG_SERIAL_8250_CONSOLE)\n" +
        "    and console=ttyS0, which tsvm adds; earlyprintk=ttyS0 (--append) shows where an early boot stops\n",
    });
    expect(result.ms).toBeLessThan(5000 * SLOWNESS);
  });

  test.each(["1", "2", "4"])("boots with %s vCPUs", async (cpus) => {
    const result = await tsvm(["boot", "--cpus", cpus, guest("smp", guests.ONE_BYTE_AND_RESET)]);
    expect(result).toMatchObject({ status: 0, stdout: "!", stderr: "" });
  });

  test("whose boot processor halts for good ends although other vCPUs never started", async () => {
    const result = await tsvm(["boot", "--cpus", "4", guest("halt4", guests.ONE_BYTE_AND_HALT)]);
    expect(result).toMatchObject({ status: 0, stdout: "!", stderr: "" });
  });

  check("boots with 5 GiB, beyond the hole below 4 GiB", [memory(5 * GiB)], async () => {
    const result = await tsvm(["boot", "--memory", "5G", guest("large", guests.ONE_BYTE_AND_RESET)]);
    expect(result).toMatchObject({ status: 0, stdout: "!", stderr: "" });
  });

  check("with an instruction that nobody can run ends with 122 and names it", [SOFTWARE_KVM], async () => {
    const { report, result } = await tsvmJson(["boot", guest("aes", guests.UNSUPPORTED)]);
    expect(result.status).toBe(122);
    expect(report).toMatchObject({ status: 122, reason: "crash" });
    expect(report.error).toEqual({
      code: "ERR_UNSUPPORTED_INSTRUCTION",
      message:
        "the guest executed an instruction this host's software KVM cannot run and tsvm cannot complete: " +
        "aesenc xmm0, xmm1 (66 0f 38 dc c1) at RIP 0x10000b, 32-bit code, CPL 0",
      hint:
        "run the guest on a host with hardware virtualization, or keep the guest kernel from using the " +
        "instruction (Linux: clearcpuid= on the kernel command line)",
    });
  });
});

suite("many exits", [KVM], () => {
  const MANY = 1_000_000 / SLOWNESS;
  const FEW = MANY / 10;
  const SERIAL_LINE_STATUS = 0x3fd;
  /** The magic number of the first virtio device. */
  const VIRTIO_REGISTER = 0xd000_0000;

  test.each([
    ["port reads", (count: number) => guests.portReads(SERIAL_LINE_STATUS, count), { io: MANY + 1, mmio: 0 }],
    ["MMIO reads", (count: number) => guests.mmioReads(VIRTIO_REGISTER, count), { io: 1, mmio: MANY }],
  ])(
    "for %s are counted, and allocate nothing: no more scavenges than a tenth of them",
    async (_, code, exits) => {
      const few = await observe(guest("few", code(FEW)));
      const many = await observe(guest("many", code(MANY)));
      expect(many.report).toMatchObject({ status: 0, reason: "reset" });
      // One of the port accesses is the reset.
      expect(many.report.exits).toMatchObject({ ...exits, assist: 0 });
      // One number on the heap (12 bytes) per exit would fill the semi-space twenty times more.
      expect(many.scavenges).toBeLessThanOrEqual(few.scavenges + 5);
    },
  );

  async function observe(kernel: string): Promise<{ report: JsonReport; scavenges: number }> {
    const { status, stdout } = await tsvm(["boot", "--json", kernel], {
      nodeOptions: ["--trace-gc", "--max-semi-space-size=1"],
    });
    expect(status).toBe(0);
    // All threads write their collections to stdout, as lines that begin with [pid:isolate].
    const lines = stdout.split("\n");
    const isTrace = (line: string): boolean => /^\[\d+:0x/.test(line);
    return {
      report: JSON.parse(lines.filter((line) => !isTrace(line)).join("\n")) as JsonReport,
      scavenges: lines.filter((line) => isTrace(line) && line.includes(" Scavenge ")).length,
    };
  }
});

function memory(bytes: number): () => string | undefined {
  return () => (totalmem() > bytes ? undefined : `${bytes / GiB} GiB of memory`);
}
