/**
 * The Fixed ACPI Description Table of a hardware-reduced machine (ACPI 6.5, sections 5.2.9 and 4.1): no timer, no SMI, none of
 * the PM1 registers; sleeping and resetting by one register each.
 */
import { REGISTER, RESET_VALUE } from "./power-registers.ts";
import { struct, u16, u32, u64, u8 } from "../../ffi/struct.ts";
import { at, writePacked } from "../fields.ts";
import { ascii } from "./aml.ts";
import { descriptionTable, HEADER_SIZE } from "./table.ts";

const REVISION = 6;
const MINOR_REVISION = 5;
const SIZE = 276;

/** Table 5.9; offsets in the table. */
const fadt_fields = {
  iapc_boot_arch: at(109, u16),
  flags: at(112, u32),
  reset_value: at(128, u8),
  fadt_minor_version: at(131, u8),
  x_dsdt: at(140, u64),
} as const;
const RESET_REG = 116;
const SLEEP_CONTROL_REG = 244;
const SLEEP_STATUS_REG = 256;
const HYPERVISOR_VENDOR_ID = 268;

/** Table 5.10. */
const WBINVD = 1 << 0;
const PWR_BUTTON = 1 << 4;
const SLP_BUTTON = 1 << 5;
const RESET_REG_SUP = 1 << 10;
const HW_REDUCED_ACPI = 1 << 20;

/** Table 5.11. A keyboard controller is not announced: ours can reset the machine, and nothing else. */
const LEGACY_DEVICES = 1 << 0;
const VGA_NOT_PRESENT = 1 << 2;

/** Generic Address Structure (5.2.3.2). */
const generic_address = struct("GAS", {
  address_space_id: u8,
  register_bit_width: u8,
  register_bit_offset: u8,
  access_size: u8,
  address_low: u32,
  address_high: u32,
});

/** `power.port`: of src/devices/acpi-power.ts. `dsdt`: guest physical address. */
export function fadt({ power, dsdt }: { power: { port: number }; dsdt: number }): Uint8Array {
  const table = new Uint8Array(SIZE);
  writePacked(fadt_fields, table, {
    iapc_boot_arch: LEGACY_DEVICES | VGA_NOT_PRESENT,
    // The buttons' flags say that they are no fixed hardware but devices in the DSDT, or nowhere.
    flags: WBINVD | PWR_BUTTON | SLP_BUTTON | RESET_REG_SUP | HW_REDUCED_ACPI,
    reset_value: RESET_VALUE,
    fadt_minor_version: MINOR_REVISION,
    x_dsdt: BigInt(dsdt),
  });
  table.set(ioPort(power.port + REGISTER.RESET), RESET_REG);
  table.set(ioPort(power.port + REGISTER.SLEEP_CONTROL), SLEEP_CONTROL_REG);
  table.set(ioPort(power.port + REGISTER.SLEEP_STATUS), SLEEP_STATUS_REG);
  table.set(ascii("TSVM"), HYPERVISOR_VENDOR_ID);
  return descriptionTable("FACP", REVISION, table.subarray(HEADER_SIZE));
}

function ioPort(port: number): Uint8Array {
  const SYSTEM_IO = 1;
  const BYTE_ACCESS = 1;
  return generic_address.pack({
    address_space_id: SYSTEM_IO,
    register_bit_width: 8,
    access_size: BYTE_ACCESS,
    address_low: port,
  });
}
