/**
 * The ACPI tables of a machine, laid out in guest memory: RSDP → XSDT → FADT (→ DSDT) and MADT. ACPI 6.5, section 5.2.
 */
import { TsvmError } from "../../errors.ts";
import { ACPI_END, ACPI_RSDP_ADDRESS } from "../layout.ts";
import { littleEndian } from "./aml.ts";
import { dsdt } from "./dsdt.ts";
import { fadt } from "./fadt.ts";
import { madt } from "./madt.ts";
import type { AcpiMachine } from "./machine.ts";
import { rsdp, RSDP_SIZE } from "./rsdp.ts";
import { descriptionTable } from "./table.ts";

export type { AcpiMachine } from "./machine.ts";

export interface AcpiTables {
  /** Guest physical address of the root pointer. */
  readonly rsdp: number;
  /** Each table with the guest physical address it belongs to. */
  readonly tables: readonly { readonly gpa: number; readonly bytes: Uint8Array }[];
}

const ALIGNMENT = 16;

export function acpiTables(machine: AcpiMachine): AcpiTables {
  const tables: { gpa: number; bytes: Uint8Array }[] = [];
  let end = ACPI_RSDP_ADDRESS + RSDP_SIZE;
  const place = (bytes: Uint8Array): number => {
    const gpa = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    end = gpa + bytes.length;
    if (end > ACPI_END) throw new TsvmError("ERR_INTERNAL", "the ACPI tables outgrow their place");
    tables.push({ gpa, bytes });
    return gpa;
  };
  const fixed = place(fadt({ power: machine.power, dsdt: place(dsdt(machine)) }));
  const xsdt = place(extendedSystemDescriptionTable([fixed, place(madt(machine.cpus))]));
  tables.push({ gpa: ACPI_RSDP_ADDRESS, bytes: rsdp(xsdt) });
  return { rsdp: ACPI_RSDP_ADDRESS, tables };
}

/** Section 5.2.8: the addresses of all other tables but the DSDT. */
function extendedSystemDescriptionTable(addresses: readonly number[]): Uint8Array {
  const entries = addresses.flatMap((address) => littleEndian(address, 8));
  return descriptionTable("XSDT", 1, Uint8Array.from(entries));
}
