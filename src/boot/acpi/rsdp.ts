/** The Root System Description Pointer. ACPI 6.5, section 5.2.5.3. */
import { ascii, littleEndian } from "./aml.ts";
import { OEM_ID, setChecksum } from "./table.ts";

export const RSDP_SIZE = 36;

const REVISION = 2;
/** The part that ACPI 1.0 had, with a checksum of its own. */
const FIRST_PART = 20;
const CHECKSUM = 8;
const EXTENDED_CHECKSUM = 32;

/** `xsdt`: guest physical address. There is no RSDT: nobody who runs on a 64-bit machine needs one. */
export function rsdp(xsdt: number): Uint8Array {
  const pointer = new Uint8Array(RSDP_SIZE);
  pointer.set(ascii("RSD PTR "), 0);
  pointer.set(OEM_ID, 9);
  pointer[15] = REVISION;
  pointer.set(littleEndian(RSDP_SIZE, 4), 20);
  pointer.set(littleEndian(xsdt, 8), 24);
  setChecksum(pointer.subarray(0, FIRST_PART), CHECKSUM);
  setChecksum(pointer, EXTENDED_CHECKSUM);
  return pointer;
}
