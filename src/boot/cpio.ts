/**
 * Writes archives in the cpio format "newc", which the kernel unpacks as initramfs: for each entry a header of ASCII hexadecimal
 * numbers, name and content, each padded to 4 bytes. Documentation/driver-api/early-userspace/buffer-format.rst.
 *
 * The same entries always give the same bytes: owner root, time 0, inode numbers by position.
 */
const MAGIC = "070701";
const TRAILER = "TRAILER!!!";
const ALIGNMENT = 4;

const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFCHR = 0o020000;
const S_IFLNK = 0o120000;

/** `path` is relative to the root, without a slash at either end. Modes are permission bits, such as 0o755. */
export type CpioEntry =
  | { readonly type: "directory"; readonly path: string; readonly mode?: number }
  | { readonly type: "file"; readonly path: string; readonly mode?: number; readonly content: Uint8Array }
  | { readonly type: "symlink"; readonly path: string; readonly target: string }
  | {
      readonly type: "char-device";
      readonly path: string;
      readonly mode?: number;
      readonly major: number;
      readonly minor: number;
    };

/** The archive with these entries, in this order: directories come before what is in them. */
export function cpioArchive(entries: readonly CpioEntry[]): Uint8Array {
  const parts = entries.map((entry, index) => member(entry, index + 1));
  parts.push(
    record({ path: TRAILER, ino: 0, mode: 0, nlink: 1, content: new Uint8Array(0), major: 0, minor: 0 }),
  );
  return concat(parts);
}

interface CpioRecord {
  readonly path: string;
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly content: Uint8Array;
  readonly major: number;
  readonly minor: number;
}

const NOTHING = new Uint8Array(0);

function member(entry: CpioEntry, ino: number): Uint8Array {
  const { path } = entry;
  if (path === "" || path === TRAILER || path.startsWith("/") || path.endsWith("/") || path.includes("\0")) {
    throw new RangeError(`not a name for a cpio entry: ${JSON.stringify(path)}`);
  }
  const common = { path, ino, nlink: 1, content: NOTHING, major: 0, minor: 0 };
  switch (entry.type) {
    case "directory":
      return record({ ...common, mode: S_IFDIR | (entry.mode ?? 0o755), nlink: 2 });
    case "file":
      return record({ ...common, mode: S_IFREG | (entry.mode ?? 0o644), content: entry.content });
    case "symlink":
      return record({ ...common, mode: S_IFLNK | 0o777, content: new TextEncoder().encode(entry.target) });
    case "char-device": {
      const { major, minor } = entry;
      return record({ ...common, mode: S_IFCHR | (entry.mode ?? 0o600), major, minor });
    }
  }
}

function record({ path, ino, mode, nlink, content, major, minor }: CpioRecord): Uint8Array {
  const name = new TextEncoder().encode(`${path}\0`);
  // ino mode uid gid nlink mtime filesize maj min rmaj rmin namesize check
  const numbers = [ino, mode, 0, 0, nlink, 0, content.length, 0, 0, major, minor, name.length, 0];
  const header = new TextEncoder().encode(MAGIC + numbers.map(hexField).join(""));
  return concat([pad(concat([header, name])), pad(content)]);
}

function hexField(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new RangeError(`${value} does not fit into a field of a cpio header`);
  }
  return value.toString(16).toUpperCase().padStart(8, "0");
}

function pad(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT);
  padded.set(bytes);
  return padded;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
