/** Configurations of SYSLINUX, EXTLINUX and ISOLINUX, and of U-Boot and Alpine, which write the same form. */
import type { Candidate } from "./candidate.ts";
import { configLines } from "./config-lines.ts";
import type { ReadableVolume, Search } from "./search.ts";

const DIRECTORIES = [
  "/boot/extlinux",
  "/extlinux",
  "/boot/syslinux",
  "/syslinux",
  "/boot",
  "/",
  "/isolinux",
  "/boot/isolinux",
  "/EFI/BOOT",
];
const FILE_NAMES = ["extlinux.conf", "syslinux.cfg", "isolinux.cfg"];
const MAX_INCLUDES = 20;
const MAX_LABELS = 1000;

interface Label {
  readonly name: string;
  title: string | undefined;
  kernel: string | undefined;
  append: string | undefined;
  readonly initrds: string[];
}

interface Menu {
  readonly labels: Label[];
  /** Of `append` before the first label: for those that have none. */
  append: string;
  default: string | undefined;
  includes: number;
}

export function* syslinuxCandidates(search: Search): Generator<Candidate> {
  for (const directory of DIRECTORIES) {
    for (const name of FILE_NAMES) {
      for (const place of search.volumes) {
        const path = join(directory, name);
        const text = search.text(place, path);
        if (text !== undefined) yield* menuCandidates(search, place, path, text);
      }
    }
  }
}

function* menuCandidates(
  search: Search,
  place: ReadableVolume,
  path: string,
  text: string,
): Generator<Candidate> {
  const menu: Menu = { labels: [], append: "", default: undefined, includes: 0 };
  const directory = path.replace(/[^/]*$/, "");
  read(search, place, directory, text, menu);
  if (menu.labels.length === 0) search.found(place, `${path}: has no entries`);
  const isDefault = ({ name }: Label): boolean => name.toLowerCase() === menu.default?.toLowerCase();
  const ordered = [...menu.labels.filter(isDefault), ...menu.labels.filter((label) => !isDefault(label))];
  for (const label of ordered) {
    const { name, title, kernel, append, initrds } = label;
    if (kernel === undefined || /\.(?:c32|bin|com|cbt|bss|0)$/i.test(kernel)) continue;
    const commandLine = append === undefined ? menu.append : append === "-" ? "" : append;
    // initrd= is for the loader; that the kernel sees it as well does no harm.
    const fromLine = /(?:^|\s)initrd=(\S+)/.exec(commandLine)?.[1]?.split(",") ?? [];
    yield {
      title: title ?? name,
      id: name,
      kind: "syslinux",
      place,
      path,
      kernel: { place, path: join(directory, kernel) },
      initrds: (initrds.length > 0 ? initrds : fromLine).map((initrd) => ({
        place,
        path: join(directory, initrd),
      })),
      commandLine: commandLine.replaceAll(/(^|\s)initrd=\S+/g, "").trim(),
    };
  }
}

function read(search: Search, place: ReadableVolume, directory: string, text: string, menu: Menu): void {
  let label: Label | undefined = menu.labels.at(-1);
  for (const { key, value } of configLines(text)) {
    switch (key.toLowerCase()) {
      case "label":
        if (menu.labels.length >= MAX_LABELS) return;
        label = { name: value, title: undefined, kernel: undefined, append: undefined, initrds: [] };
        menu.labels.push(label);
        break;
      case "default":
      case "ontimeout":
        menu.default = value.split(/\s+/)[0];
        break;
      case "kernel":
      case "linux":
        if (label !== undefined) label.kernel = value;
        break;
      case "append":
        if (label === undefined) menu.append = value;
        else label.append = value;
        break;
      case "initrd":
        label?.initrds.push(...value.split(",").filter((initrd) => initrd !== ""));
        break;
      case "menu": {
        const [, what = "", rest = ""] = /^(\S+)\s*(.*)$/.exec(value) ?? [];
        // The caret marks the key that selects it.
        if (label !== undefined && what.toLowerCase() === "label") label.title = rest.replace("^", "");
        if (label !== undefined && what.toLowerCase() === "default") menu.default = label.name;
        if (what.toLowerCase() === "include") include(rest);
        break;
      }
      case "include":
        include(value);
        break;
    }
  }

  function include(value: string): void {
    if (menu.includes++ >= MAX_INCLUDES) return;
    const included = search.text(place, join(directory, value.split(/\s+/)[0] ?? ""));
    if (included !== undefined) read(search, place, directory, included, menu);
    label = menu.labels.at(-1);
  }
}

/** Relative to the directory of the configuration, or from the root. */
function join(directory: string, path: string): string {
  return path.startsWith("/") ? path : `${directory.replace(/\/?$/, "/")}${path}`;
}
