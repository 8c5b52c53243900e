/** Text and identifiers as they stand on disks. */

const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });
const UTF16LE = new TextDecoder("utf-16le", { ignoreBOM: true });

/** A file name or the like. Bytes that are no UTF-8 become U+FFFD. */
export function utf8(bytes: Uint8Array): string {
  return UTF8.decode(bytes);
}

export function utf16le(bytes: Uint8Array): string {
  return UTF16LE.decode(bytes);
}

/** Text of fixed length that ends at the first NUL, or undefined if that leaves nothing. */
export function paddedText(bytes: Uint8Array): string | undefined {
  const end = bytes.indexOf(0);
  const text = utf8(end === -1 ? bytes : bytes.subarray(0, end)).trim();
  return text === "" ? undefined : text;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}

/** A UUID in the order of its bytes, or undefined if it is all zeros. */
export function uuidText(bytes: Uint8Array): string | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** A GUID as EFI stores it: the first three fields little-endian. */
export function guidText(bytes: Uint8Array): string | undefined {
  const order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
  return uuidText(Uint8Array.from(order, (index) => bytes[index] ?? 0));
}
