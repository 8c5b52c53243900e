/** The Differentiated System Description Table: the devices that cannot be found by asking. ACPI 6.5, section 5.2.11.1. */
import { OSPM_PRESENT, PORTS, POWER_BUTTON_EVENT, REGISTER, SLEEP_TYPE_S5 } from "./power-registers.ts";
import {
  and,
  device,
  eisaId,
  field,
  ifTrue,
  integer,
  local0,
  method,
  name,
  notify,
  packageOf,
  reference,
  scope,
  store,
  string,
  systemIoRegion,
  type Aml,
} from "./aml.ts";
import type { AcpiMachine } from "./machine.ts";
import { interrupt, ioPorts, memory32Fixed, resourceTemplate } from "./resources.ts";
import { descriptionTable } from "./table.ts";

const SERIAL_PORTS = 8;
const CLOCK_PORTS = 2;
/** Notification values (5.6.6): what a power button says when it is pressed. */
const S0_POWER_BUTTON_PRESSED = 0x80;

export function dsdt(machine: AcpiMachine): Uint8Array {
  const terms = [
    scope(
      "\\_SB",
      ...announcement(machine),
      serialPort(machine),
      clock(machine),
      ...machine.virtioMmio.map(virtioMmio),
      ...powerButton(machine),
    ),
    // The sleep type for soft off (7.4.2.6); no other sleep state is there.
    name("\\_S5", packageOf(integer(SLEEP_TYPE_S5), integer(0), integer(0), integer(0))),
  ];
  // Revision 2: integers have 64 bits.
  return descriptionTable("DSDT", 2, Uint8Array.from(terms.flat()));
}

function serialPort({ serialPort: { port, irq } }: AcpiMachine): Aml {
  return device(
    "COM1",
    name("_HID", eisaId("PNP0501")),
    name("_UID", integer(1)),
    name("_CRS", resourceTemplate(ioPorts(port, SERIAL_PORTS), interrupt(irq))),
  );
}

/** Without an interrupt: ours has no alarm. */
function clock({ clock: { port } }: AcpiMachine): Aml {
  return device(
    "RTC",
    name("_HID", eisaId("PNP0B00")),
    name("_CRS", resourceTemplate(ioPorts(port, CLOCK_PORTS))),
  );
}

/** _INI runs when a guest has read the tables (6.5.1). */
function announcement({ power: { port } }: AcpiMachine): Aml[] {
  return [
    systemIoRegion("OREG", port + REGISTER.OSPM, 1),
    field("OREG", "OSPM", 8),
    method("_INI", 0, store(integer(OSPM_PRESENT), reference("OSPM"))),
  ];
}

/** The id under which Linux and others look for virtio-mmio windows. */
function virtioMmio({ base, size, irq }: AcpiMachine["virtioMmio"][number], index: number): Aml {
  const CACHE_COHERENT = 1;
  return device(
    `VR${index.toString(16).toUpperCase().padStart(2, "0")}`,
    name("_HID", string("LNRO0005")),
    name("_UID", integer(index)),
    name("_CCA", integer(CACHE_COHERENT)),
    name("_CRS", resourceTemplate(memory32Fixed(base, size), interrupt(irq))),
  );
}

/**
 * A power button, and the Generic Event Device (5.6.9) whose interrupt says that there is an event. Reading the event register
 * says which and takes it back.
 */
function powerButton({ power: { port, irq } }: AcpiMachine): Aml[] {
  return [
    device("PWRB", name("_HID", eisaId("PNP0C0C"))),
    device(
      "GED",
      name("_HID", string("ACPI0013")),
      name("_UID", integer(0)),
      name("_CRS", resourceTemplate(interrupt(irq))),
      systemIoRegion("EREG", port + REGISTER.EVENT, PORTS - REGISTER.EVENT),
      field("EREG", "EVNT", 32),
      method(
        "_EVT",
        1,
        store(reference("EVNT"), local0),
        ifTrue(and(local0, integer(POWER_BUTTON_EVENT)), notify("\\_SB.PWRB", S0_POWER_BUTTON_PRESSED)),
      ),
    ),
  ];
}
