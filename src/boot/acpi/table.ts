/** What all ACPI tables have in common. ACPI 6.5, section 5.2.6. */
import { bytes, struct, u32, u8 } from "../../ffi/struct.ts";
import { ascii } from "./aml.ts";

export const OEM_ID = ascii("TSVM  ");
const OEM_TABLE_ID = ascii("TSVM    ");

const header = struct("DESCRIPTION_HEADER", {
  signature: bytes(4),
  length: u32,
  revision: u8,
  checksum: u8,
  oem_id: bytes(6),
  oem_table_id: bytes(8),
  oem_revision: u32,
  creator_id: bytes(4),
  creator_revision: u32,
});

export const HEADER_SIZE = header.size;

/** A table: header with length and checksum, then `body`. */
export function descriptionTable(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const table = new Uint8Array(HEADER_SIZE + body.length);
  table.set(
    header.pack({
      signature: Uint8Array.from(ascii(signature)),
      length: table.length,
      revision,
      oem_id: Uint8Array.from(OEM_ID),
      oem_table_id: Uint8Array.from(OEM_TABLE_ID),
      oem_revision: 1,
      creator_id: Uint8Array.from(ascii("TSVM")),
      creator_revision: 1,
    }),
  );
  table.set(body, HEADER_SIZE);
  setChecksum(table, header.offset.checksum);
  return table;
}

/** Sets the byte at `offset` so that `bytes` sum to 0 modulo 256. */
export function setChecksum(bytes: Uint8Array, offset: number): void {
  bytes[offset] = 0;
  bytes[offset] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}
