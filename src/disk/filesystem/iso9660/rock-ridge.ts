/** Rock Ridge: names, modes and links of POSIX in the system use fields. IEEE P1281 (SUSP) and P1282 (RRIP). */
import { utf8 } from "../decode.ts";
import { viewOf } from "../../source/block-reader.ts";
import type { Extent } from "./directory-record.ts";
import { shortDate } from "./directory-record.ts";

/** Continuation areas of one record. */
const MAX_CONTINUATIONS = 32;
const MAX_AREA = 32 * 1024;
const MAX_TEXT = 4096;

export interface RockRidge {
  readonly name: string | undefined;
  /** st_mode. */
  readonly mode: number | undefined;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number | undefined;
  readonly target: string | undefined;
  readonly device: { readonly major: number; readonly minor: number } | undefined;
  /** The directory really is elsewhere: deep ones are moved. */
  readonly childBlock: number | undefined;
  /** Where such a directory was moved to; not part of the tree. */
  readonly relocated: boolean;
  /** Compressed (zisofs). */
  readonly compressed: boolean;
}

/** How many bytes to leave out at the beginning of each system use area, if the root says that there is Rock Ridge. */
export function suspSkip(systemUse: Uint8Array): number | undefined {
  const isSp =
    systemUse.length >= 7 &&
    systemUse[0] === 0x53 &&
    systemUse[1] === 0x50 &&
    systemUse[4] === 0xbe &&
    systemUse[5] === 0xef;
  return isSp ? systemUse[6] : undefined;
}

/** @param read Bytes of the disk, for areas that continue elsewhere. */
export function parseRockRidge(
  systemUse: Uint8Array,
  skip: number,
  read: (extent: Extent & { offset: number }) => Uint8Array,
): RockRidge {
  let name: string | undefined;
  let mode: number | undefined;
  let links = 1;
  let uid = 0;
  let gid = 0;
  let mtime: number | undefined;
  let device: RockRidge["device"];
  let childBlock: number | undefined;
  let relocated = false;
  let compressed = false;
  const link = new LinkTarget();
  for (const { signature, data } of fields(systemUse.subarray(skip), read)) {
    const view = viewOf(data);
    switch (signature) {
      case "PX":
        if (data.length < 32) break;
        mode = view.getUint32(0, true);
        links = view.getUint32(8, true);
        uid = view.getUint32(16, true);
        gid = view.getUint32(24, true);
        break;
      case "PN":
        if (data.length >= 16) device = deviceNumber(view.getUint32(0, true), view.getUint32(8, true));
        break;
      case "NM":
        // Flags: 1 continues, 2 and 4 are . and ..
        if (data.length > 1 && (data[0]! & 6) === 0 && (name?.length ?? 0) < MAX_TEXT) {
          name = (name ?? "") + utf8(data.subarray(1));
        }
        break;
      case "SL":
        link.add(data.subarray(1));
        break;
      case "TF":
        mtime ??= modificationTime(data);
        break;
      case "CL":
        if (data.length >= 8) childBlock = view.getUint32(0, true);
        break;
      case "RE":
        relocated = true;
        break;
      case "ZF":
        compressed = true;
        break;
    }
  }
  return { name, mode, links, uid, gid, mtime, target: link.text, device, childBlock, relocated, compressed };
}

function* fields(
  first: Uint8Array,
  read: (extent: Extent & { offset: number }) => Uint8Array,
): Generator<{ signature: string; data: Uint8Array }> {
  let area = first;
  for (let continuations = 0; continuations <= MAX_CONTINUATIONS; continuations++) {
    let next: (Extent & { offset: number }) | undefined;
    for (let at = 0; at + 4 <= area.length;) {
      const length = area[at + 2]!;
      if (length < 4 || at + length > area.length) break;
      const signature = String.fromCharCode(area[at]!, area[at + 1]!);
      const data = area.subarray(at + 4, at + length);
      if (signature === "ST") break;
      if (signature === "CE" && data.length >= 24) {
        const view = viewOf(data);
        next = {
          block: view.getUint32(0, true),
          offset: view.getUint32(8, true),
          size: view.getUint32(16, true),
        };
      }
      yield { signature, data };
      at += length;
    }
    if (next === undefined || next.size > MAX_AREA) return;
    area = read(next);
  }
}

/** Components of a symbolic link, which may be spread over fields. */
class LinkTarget {
  #text: string | undefined;
  #open = true;

  get text(): string | undefined {
    return this.#text;
  }

  add(components: Uint8Array): void {
    for (let at = 0; at + 2 <= components.length;) {
      const flags = components[at]!;
      const length = components[at + 1]!;
      const part = utf8(components.subarray(at + 2, at + 2 + length));
      const before = this.#text ?? "";
      if (before.length > MAX_TEXT) return;
      const separator = this.#text === undefined || this.#open || before.endsWith("/") ? "" : "/";
      // 2: `.`, 4: `..`, 8: the root, 1: the component goes on in the next.
      const name = (flags & 8) !== 0 ? "/" : (flags & 4) !== 0 ? ".." : (flags & 2) !== 0 ? "." : part;
      this.#text = before + separator + name;
      this.#open = (flags & 1) !== 0;
      at += 2 + length;
    }
  }
}

/** The second of the times that the flags say are there, if the first, creation, is too. */
function modificationTime(data: Uint8Array): number | undefined {
  const flags = data[0] ?? 0;
  const CREATION = 1;
  const MODIFICATION = 2;
  const LONG_FORM = 0x80;
  if ((flags & MODIFICATION) === 0 || (flags & LONG_FORM) !== 0) return undefined;
  const at = 1 + ((flags & CREATION) !== 0 ? 7 : 0);
  return at + 7 <= data.length ? shortDate(data.subarray(at, at + 7)) : undefined;
}

/** Both halves, or all in the lower one. */
function deviceNumber(high: number, low: number): { major: number; minor: number } {
  return high === 0 ? { major: (low >> 8) & 0xfff, minor: low & 0xff } : { major: high, minor: low };
}
