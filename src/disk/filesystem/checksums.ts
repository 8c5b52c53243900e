/** The checksums of ext4 and its journal. */

function reflectedTable(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    return value >>> 0;
  });
}

const CRC32C = reflectedTable(0x82f6_3b78);
const CRC16 = reflectedTable(0xa001);
const CRC32_BE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24;
  for (let bit = 0; bit < 8; bit++) value = value < 0 ? (value << 1) ^ 0x04c1_1db7 : value << 1;
  return value >>> 0;
});

/** CRC-32C (Castagnoli) as the kernel's crc32c(): no inversion, neither before nor after. */
export function crc32c(crc: number, bytes: Uint8Array): number {
  let value = crc;
  for (let index = 0; index < bytes.length; index++) {
    value = CRC32C[(value ^ bytes[index]!) & 0xff]! ^ (value >>> 8);
  }
  return value >>> 0;
}

/** {@link crc32c} of a number as 4 little-endian bytes. */
export function crc32cOfU32(crc: number, number: number): number {
  return crc32c(crc, Uint8Array.of(number, number >>> 8, number >>> 16, number >>> 24));
}

/** The kernel's crc16(). */
export function crc16(crc: number, bytes: Uint8Array): number {
  let value = crc;
  for (let index = 0; index < bytes.length; index++) {
    value = CRC16[(value ^ bytes[index]!) & 0xff]! ^ (value >>> 8);
  }
  return value & 0xffff;
}

/** The kernel's crc32_be(). */
export function crc32be(crc: number, bytes: Uint8Array): number {
  let value = crc;
  for (let index = 0; index < bytes.length; index++) {
    value = (value << 8) ^ CRC32_BE[((value >>> 24) ^ bytes[index]!) & 0xff]!;
  }
  return value >>> 0;
}
