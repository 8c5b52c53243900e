/** Type #1 entries of the Boot Loader Specification (UAPI.1): files of lines `key value` in loader/entries. */
import { configLines } from "./config-lines.ts";
import { compareVersions } from "./version-compare.ts";

export interface LoaderEntry {
  /** The name of the file without `.conf` and without the counter of attempts. */
  readonly id: string;
  readonly title: string;
  readonly version: string;
  readonly sortKey: string;
  readonly machineId: string;
  readonly architecture: string;
  readonly linux: string | undefined;
  /** A unified kernel image, or another EFI program. */
  readonly efi: string | undefined;
  readonly initrds: readonly string[];
  readonly options: string;
  /** All attempts to boot it failed. */
  readonly bad: boolean;
}

export function parseLoaderEntry(fileName: string, text: string): LoaderEntry {
  const values = new Map<string, string[]>();
  for (const { key, value } of configLines(text)) {
    const list = values.get(key) ?? [];
    list.push(value);
    values.set(key, list);
  }
  const last = (key: string): string | undefined => values.get(key)?.at(-1);
  // Such as entry+2-1.conf: two attempts left, one made.
  const [, id = fileName, left] = /^(.*?)(?:\+(\d+)(?:-\d+)?)?\.conf$/.exec(fileName) ?? [];
  const version = last("version") ?? "";
  return {
    id,
    title: last("title") ?? id,
    version,
    sortKey: last("sort-key") ?? "",
    machineId: last("machine-id") ?? "",
    architecture: (last("architecture") ?? "").toLowerCase(),
    linux: last("linux"),
    efi: last("uki") ?? last("efi"),
    initrds: values.get("initrd") ?? [],
    options: (values.get("options") ?? []).join(" "),
    bad: left !== undefined && Number(left) === 0,
  };
}

/** In the order of a menu, the first being the default: UAPI.1, "Sorting". */
export function compareLoaderEntries(a: LoaderEntry, b: LoaderEntry): number {
  if (a.bad !== b.bad) return a.bad ? 1 : -1;
  // Those with a sort key stand before those without.
  if ((a.sortKey === "") !== (b.sortKey === "")) return a.sortKey === "" ? 1 : -1;
  if (a.sortKey !== "") {
    const order =
      compareText(a.sortKey, b.sortKey) ||
      compareText(a.machineId, b.machineId) ||
      compareVersions(b.version, a.version);
    if (order !== 0) return order;
  }
  return compareVersions(b.id, a.id);
}

/** As GRUB's blscfg sorts: by the name of the file alone, newest first. */
export function compareLikeGrub(a: LoaderEntry, b: LoaderEntry): number {
  return compareVersions(b.id, a.id);
}

/** Whether the entry is for another kind of machine. */
export function isForeign({ architecture }: LoaderEntry): boolean {
  return (
    architecture !== "" && architecture !== "x64" && architecture !== "x86_64" && architecture !== "x86-64"
  );
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
