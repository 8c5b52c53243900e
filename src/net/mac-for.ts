import { createHash, randomBytes } from "node:crypto";

/** The bit that says: not from a manufacturer. */
const LOCAL = 0x02;

/**
 * A locally administered address for network `index` of the machine called `name`: always the same, since guests remember addresses.
 * A machine without a name gets a random one.
 */
export function macFor(name: string | undefined, index: number): Uint8Array {
  const bytes =
    name === undefined ? randomBytes(5) : createHash("sha256").update(`${name}\0${index}`).digest();
  return Uint8Array.of(LOCAL, ...bytes.subarray(0, 5));
}
