/** Ethernet addresses. */

/** `02:00:00:00:00:01` as six bytes; undefined for anything else, and for addresses of groups and the zero address. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const mac = Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));
  const group = (mac[0]! & 1) !== 0;
  return group || mac.every((byte) => byte === 0) ? undefined : mac;
}

export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
