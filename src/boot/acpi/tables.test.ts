import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { suite, tool } from "../../../test/support/needs.ts";
import { FakeRam } from "../testing/fake-ram.ts";
import { acpiTables, type AcpiMachine } from "./index.ts";

const machine = (cpus: number, devices: number): AcpiMachine => ({
  cpus,
  serialPort: { port: 0x3f8, irq: 4 },
  clock: { port: 0x70 },
  power: { port: 0x600, irq: 9 },
  virtioMmio: Array.from({ length: devices }, (_, index) => ({
    base: 0xd000_0000 + index * 0x1000,
    size: 0x1000,
    irq: 5 + index,
  })),
});

/** Follows the pointers as a kernel does, from the root pointer on. */
function tablesInMemory(content: AcpiMachine): Map<string, Uint8Array> {
  const { rsdp, tables } = acpiTables(content);
  const ram = FakeRam.ofMiB(1);
  for (const { gpa, bytes } of tables) ram.write(gpa, bytes);
  const bytesAt = (gpa: number, length: number): Uint8Array =>
    Uint8Array.from({ length }, (_, index) => ram.u32(gpa + index) & 0xff);
  const tableAt = (gpa: number): Uint8Array => bytesAt(gpa, ram.u32(gpa + 4));
  const name = (table: Uint8Array): string => String.fromCharCode(...table.subarray(0, 4));

  const found = new Map([["RSDP", bytesAt(rsdp, ram.u32(rsdp + 20))]]);
  const xsdt = tableAt(Number(ram.u64(rsdp + 24)));
  found.set("XSDT", xsdt);
  const view = new DataView(xsdt.buffer);
  for (let offset = 36; offset < xsdt.length; offset += 8) {
    const table = tableAt(Number(view.getBigUint64(offset, true)));
    found.set(name(table), table);
  }
  const dsdt = new DataView(found.get("FACP")!.buffer).getBigUint64(140, true);
  found.set("DSDT", tableAt(Number(dsdt)));
  return found;
}

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

describe("acpiTables", () => {
  it.each([
    [1, 1],
    [2, 3],
    [255, 16],
  ])("lead from one to the next, with right checksums (%d processors, %d devices)", (cpus, devices) => {
    const tables = tablesInMemory(machine(cpus, devices));
    expect([...tables.keys()].sort()).toEqual(["APIC", "DSDT", "FACP", "RSDP", "XSDT"]);
    for (const table of tables.values()) expect(sum(table)).toBe(0);
    expect(sum(tables.get("RSDP")!.subarray(0, 20))).toBe(0);
  });

  it("stand below the MP tables and do not overlap", () => {
    const { tables } = acpiTables(machine(255, 16));
    const ranges = tables
      .map(({ gpa, bytes }) => [gpa, gpa + bytes.length] as const)
      .sort(([a], [b]) => a - b);
    expect(ranges[0]![0]).toBe(0xe_0000);
    expect(ranges.at(-1)![1]).toBeLessThanOrEqual(0xf_0000);
    for (const [index, [start]] of ranges.slice(1).entries()) {
      expect(start).toBeGreaterThanOrEqual(ranges[index]![1]);
    }
  });
});

suite("acpiTables, as iasl reads them", [tool("iasl", "acpica-tools")], () => {
  /** Source that iasl makes of a table, white space squeezed. */
  function disassemble(content: AcpiMachine, table: string): string {
    const directory = mkdtempSync(join(tmpdir(), "tsvm-acpi-"));
    try {
      writeFileSync(join(directory, "table.dat"), tablesInMemory(content).get(table)!);
      const output = execFileSync("iasl", ["-d", "table.dat"], {
        cwd: directory,
        encoding: "utf8",
        stdio: "pipe",
      });
      const source = readFileSync(join(directory, "table.dsl"), "utf8");
      expect(output + source).not.toMatch(/warning|error/i);
      if (table === "DSDT") compile(directory);
      return source.replaceAll(/ ?\/\*[^]*?\*\/|\/\/.*$/gm, "").replaceAll(/\s+/g, " ");
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  /** What iasl took for our tables is also correct source. */
  function compile(directory: string): void {
    const output = execFileSync("iasl", ["-we", "table.dsl"], {
      cwd: directory,
      encoding: "utf8",
      stdio: "pipe",
    });
    expect(output).toMatch(/0 Errors, 0 Warnings/);
  }

  it("describe processors and one I/O APIC", () => {
    const madt = disassemble(machine(3, 1), "APIC");
    expect(madt.match(/\[Processor Local APIC\]/g)).toHaveLength(3);
    expect(madt.match(/\[I\/O APIC\]/g)).toHaveLength(1);
    expect(madt).toContain("Interrupt : 00000000");
    expect(madt).toMatch(/PC-AT Compatibility : 0/);
  });

  it("describe a hardware-reduced machine with sleep and reset registers", () => {
    const fadt = disassemble(machine(1, 1), "FACP");
    for (const line of [
      "Hardware Reduced (V5) : 1",
      "Reset Register Supported (V2) : 1",
      "Control Method Power Button (V1) : 1",
      "CMOS RTC Not Present (V5) : 0",
      "8042 Present on ports 60/64 (V2) : 0",
      "Value to cause reset : 01",
      "Hypervisor ID : 000000004D565354",
    ]) {
      expect(fadt).toContain(line);
    }
    const registers = ["Reset", "Sleep Control", "Sleep Status"].map((name) => {
      const match = new RegExp(
        String.raw`${name} Register : .*?Space ID : 01 \[SystemIO\].*?Address : (\w+)`,
      ).exec(fadt);
      return Number.parseInt(match![1]!, 16);
    });
    expect(registers).toEqual([0x602, 0x600, 0x601]);
  });

  it("describe serial port, virtio windows, power button and soft off", () => {
    const dsdt = disassemble(machine(1, 16), "DSDT");
    expect(dsdt).toContain('Name (_HID, EisaId ("PNP0501"))');
    expect(dsdt).toMatch(/IO \(Decode16, 0x03F8, 0x03F8, 0x01, 0x08, \)/);
    expect(dsdt).toMatch(
      /PNP0B00"\)\) Name \(_CRS, ResourceTemplate \(\) \{ IO \(Decode16, 0x0070, 0x0070, 0x01, 0x02, \) \}/,
    );
    expect(dsdt.match(/Name \(_HID, "LNRO0005"\)/g)).toHaveLength(16);
    expect(dsdt).toMatch(/Device \(VR0F\).*?Memory32Fixed \(ReadWrite, 0xD000F000, 0x00001000, \)/);
    expect(dsdt).toMatch(
      /Device \(VR02\).*?Interrupt \(ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, \) \{ 0x00000007, \}/,
    );
    expect(dsdt).toContain('Name (_HID, EisaId ("PNP0C0C"))');
    expect(dsdt).toContain("OperationRegion (EREG, SystemIO, 0x0604, 0x04)");
    expect(dsdt).toMatch(
      /Method \(_EVT, 1, Serialized\).*If \(\(Local0 & One\)\) \{ Notify \(\\_SB\.PWRB, 0x80\)/,
    );
    expect(dsdt).toMatch(/Method \(_INI, 0, Serialized\) \{ OSPM = One \}/);
    expect(dsdt).toMatch(/Name \(\\_S5, Package \(0x04\) \{ 0x05, Zero, Zero, Zero \}\)/);
  });
});
