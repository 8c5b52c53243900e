/** Resource descriptors: what a device's _CRS says it uses. ACPI 6.5, section 6.4. */
import { buffer, littleEndian, type Aml } from "./aml.ts";

/** ResourceTemplate (19.6.119): descriptors and an end tag, in a buffer. */
export function resourceTemplate(...descriptors: Aml[]): Aml {
  const END_TAG = 0x79;
  // Checksum 0 stands for "not checked" (6.4.2.9).
  return buffer([...descriptors.flat(), END_TAG, 0]);
}

/** I/O Port Descriptor (6.4.2.5): `length` ports at a fixed place, 16 address bits decoded. */
export function ioPorts(port: number, length: number): Aml {
  const SMALL_IO_PORT = 0x47;
  const DECODE_16 = 1;
  const ALIGNMENT = 1;
  return [SMALL_IO_PORT, DECODE_16, ...littleEndian(port, 2), ...littleEndian(port, 2), ALIGNMENT, length];
}

/** 32-Bit Fixed Memory Range Descriptor (6.4.3.4), read and write. */
export function memory32Fixed(base: number, length: number): Aml {
  const LARGE_MEMORY32_FIXED = 0x86;
  const WRITEABLE = 1;
  return [LARGE_MEMORY32_FIXED, 9, 0, WRITEABLE, ...littleEndian(base, 4), ...littleEndian(length, 4)];
}

/** Extended Interrupt Descriptor (6.4.3.6): one line of the I/O APIC, edge-triggered, active high, exclusive. */
export function interrupt(gsi: number): Aml {
  const LARGE_EXTENDED_INTERRUPT = 0x89;
  const CONSUMER = 0x01;
  const EDGE = 0x02;
  return [LARGE_EXTENDED_INTERRUPT, 6, 0, CONSUMER | EDGE, 1, ...littleEndian(gsi, 4)];
}
