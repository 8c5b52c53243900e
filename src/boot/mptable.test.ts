import { describe, expect, it } from "vitest";
import { ProcessorCountError } from "./errors.ts";
import { mpTables } from "./mptable.ts";

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** The configuration table's entries, by the lengths of MP specification 1.4, table 4-3. */
function entries(table: Uint8Array): Uint8Array[] {
  const list: Uint8Array[] = [];
  for (let offset = 44; offset < table.length;) {
    const length = table[offset] === 0 ? 20 : 8;
    list.push(table.subarray(offset, offset + length));
    offset += length;
  }
  return list;
}

describe("mpTables", () => {
  const tables = (cpus: number): { pointer: Uint8Array; table: Uint8Array } => {
    const [pointer, table] = mpTables(cpus);
    return { pointer: pointer!.bytes, table: table!.bytes };
  };

  it.each([1, 2, 3, 64, 255])("describes %d processors with right checksums and counts", (cpus) => {
    const { pointer, table } = tables(cpus);
    const view = new DataView(table.buffer);
    expect(sum(pointer)).toBe(0);
    expect(sum(table)).toBe(0);
    expect(view.getUint16(4, true)).toBe(table.length);
    const list = entries(table);
    expect(view.getUint16(34, true)).toBe(list.length);
    const processors = list.filter(([type]) => type === 0);
    expect(processors.map((entry) => entry[1])).toEqual(Array.from({ length: cpus }, (_, index) => index));
    expect(processors.map((entry) => entry[3])).toEqual(processors.map((_, index) => (index === 0 ? 3 : 1)));
  });

  it("stands where kernels look: at a 16-byte boundary of the last KiB of base memory", () => {
    const [pointer, table] = mpTables(1);
    expect(pointer!.gpa).toBe(639 * 1024);
    expect(text(pointer!.bytes.subarray(0, 4))).toBe("_MP_");
    expect(new DataView(pointer!.bytes.buffer).getUint32(4, true)).toBe(table!.gpa);
    expect(text(table!.bytes.subarray(0, 4))).toBe("PCMP");
  });

  it("fits into the BIOS area at its largest", () => {
    const table = mpTables(255)[1]!;
    expect(table.gpa + table.bytes.length).toBeLessThan(0x10_0000);
  });

  it("wires ISA IRQ n to pin n of the I/O APIC, and nothing to the cascade", () => {
    const list = entries(tables(4).table);
    const ioapic = list.find(([type]) => type === 2)!;
    expect(ioapic[1]).toBe(4);
    expect(new DataView(ioapic.slice().buffer).getUint32(4, true)).toBe(0xfec0_0000);
    const sources = list.filter(([type]) => type === 3);
    const pins = Array.from({ length: 24 }, (_, pin) => pin).filter((pin) => pin !== 2);
    expect(sources.map((entry) => [...entry])).toEqual(pins.map((pin) => [3, 0, 0, 0, 0, pin, 4, pin]));
  });

  it("wires LINT0 to the PIC and LINT1 to NMI", () => {
    const local = entries(tables(1).table).filter(([type]) => type === 4);
    expect(local.map((entry) => [...entry])).toEqual([
      [4, 3, 0, 0, 0, 0, 0, 0],
      [4, 1, 0, 0, 0, 0, 0xff, 1],
    ]);
  });

  it.each([0, -1, 256, 1000, 1.5, NaN])("refuses %d processors", (cpus) => {
    expect(() => mpTables(cpus)).toThrow(ProcessorCountError);
  });
});
