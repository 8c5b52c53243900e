/** The Multiple APIC Description Table: processors and interrupt controllers. ACPI 6.5, section 5.2.12. */
import { struct, u32, u8 } from "../../ffi/struct.ts";
import { descriptionTable } from "./table.ts";

const LOCAL_APIC_ADDRESS = 0xfee0_0000;
const IO_APIC_ADDRESS = 0xfec0_0000;

const body = struct("MADT", { local_apic_address: u32, flags: u32 });

const PROCESSOR_LOCAL_APIC = 0;
const ENABLED = 1;
const local_apic = struct("Processor Local APIC", {
  type: u8,
  length: u8,
  processor_uid: u8,
  apic_id: u8,
  flags: u32,
});

const IO_APIC = 1;
const io_apic = struct("I/O APIC", {
  type: u8,
  length: u8,
  io_apic_id: u8,
  reserved: u8,
  address: u32,
  global_system_interrupt_base: u32,
});

/**
 * Line n of the machine is pin n of the one I/O APIC, which is what a table without interrupt source overrides says. Flag
 * PCAT_COMPAT is 0: hardware-reduced machines have no 8259 to turn off.
 */
export function madt(cpus: number): Uint8Array {
  const entries = [
    ...Array.from({ length: cpus }, (_, id) =>
      local_apic.pack({
        type: PROCESSOR_LOCAL_APIC,
        length: local_apic.size,
        processor_uid: id,
        apic_id: id,
        flags: ENABLED,
      }),
    ),
    io_apic.pack({ type: IO_APIC, length: io_apic.size, io_apic_id: cpus, address: IO_APIC_ADDRESS }),
  ];
  const content = Buffer.concat([body.pack({ local_apic_address: LOCAL_APIC_ADDRESS }), ...entries]);
  return descriptionTable("APIC", 5, content);
}
