/** The guest's side of the vsock tests: firmware/vsockpeer, which says what it does at which port. */
import { execFileSync } from "node:child_process";
import { statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import type { MachineDescription } from "../../src/machine/description.ts";
import { ROOT } from "./paths.ts";

export const ECHO = 1000;
export const SUM = 1001;
export const SOURCE = 1002;
export const BREAK_OFF = 1003;
export const HOLD = 1004;
export const LET_GO = 1005;
export const VISIT = 1006;

/** A machine that runs it, built at `path` by gcc. It says "ready" when it listens. */
export function vsockPeer(path: string): MachineDescription {
  execFileSync("gcc", ["-O2", "-static", "-s", "-o", path, join(ROOT, "firmware/vsockpeer/vsockpeer.c")]);
  truncateSync(path, Math.ceil(statSync(path).size / 512) * 512);
  const script = "cat /dev/vdb >/tmp/peer; chmod +x /tmp/peer; exec /tmp/peer";
  return {
    cpus: 1,
    memory: 64 * 2 ** 20,
    root: "bundled",
    disks: [{ path, readOnly: true, format: "raw" }],
    command: { argv: ["sh", "-c", script] },
  };
}

/** `length` bytes as the program sends them. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = 31 * at + (at >> 8);
  return bytes;
}

/** Its checksum: FNV-1a of 32 bits, as eight hexadecimal digits. */
export function checksum(bytes: Uint8Array): string {
  let sum = 0x811c9dc5;
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 0x0100_0193);
  return (sum >>> 0).toString(16).padStart(8, "0");
}

/** Numbers of 64 bits, in the order in which the program reads them. */
export function numbers(...values: number[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length);
  values.forEach((value, index) => bytes.writeBigUInt64LE(BigInt(value), 8 * index));
  return bytes;
}
