/** What systemd-boot and other loaders of the Boot Loader Specification (UAPI.1) start: loader/entries, and EFI/Linux. */
import { FilesystemError } from "../filesystem/errors.ts";
import type { Candidate } from "./candidate.ts";
import { configLines } from "./config-lines.ts";
import { compareLoaderEntries, isForeign, parseLoaderEntry, type LoaderEntry } from "./loader-entry.ts";
import type { ReadableVolume, Search } from "./search.ts";
import { readUnifiedKernelImage } from "./unified-kernel-image.ts";
import { compareVersions } from "./version-compare.ts";

/** From the root of the EFI system partition, or of an extended boot partition; Fedora without either has the second. */
const ENTRY_DIRECTORIES = ["/loader/entries", "/boot/loader/entries", "/efi/loader/entries"];
const UKI_DIRECTORIES = ["/EFI/Linux", "/efi/EFI/Linux", "/boot/EFI/Linux", "/boot/efi/EFI/Linux"];
const MAX_ENTRIES = 500;

/** An entry or an image, with the name that the pattern in loader.conf is matched with. */
interface Item {
  readonly fileName: string;
  readonly candidate: Candidate;
}

/** All of them, the default first. */
export function* systemdBootCandidates(search: Search): Generator<Candidate> {
  const pattern = search.volumes
    .map((place) => defaultPattern(search, place))
    .find((found) => found !== undefined);
  const items = [...entryItems(search), ...imageItems(search)];
  const matches = (name: string): boolean => pattern !== undefined && globMatches(pattern, name);
  const isDefault = ({ fileName }: Item): boolean =>
    matches(fileName) || matches(fileName.replace(/\.conf$/, ""));
  for (const item of items) if (isDefault(item)) yield item.candidate;
  for (const item of items) if (!isDefault(item)) yield item.candidate;
}

function defaultPattern(search: Search, place: ReadableVolume): string | undefined {
  const text = search.text(place, "/loader/loader.conf");
  const value = [...configLines(text ?? "")].findLast(({ key }) => key === "default")?.value;
  // @saved and the like are names of EFI variables.
  return value === undefined || value.startsWith("@") ? undefined : value;
}

function entryItems(search: Search): Item[] {
  const found: { entry: LoaderEntry; fileName: string; place: ReadableVolume; directory: string }[] = [];
  for (const directory of ENTRY_DIRECTORIES) {
    for (const place of search.volumes) {
      for (const fileName of search.names(place, directory)) {
        if (!fileName.endsWith(".conf") || found.length >= MAX_ENTRIES) continue;
        const text = search.text(place, `${directory}/${fileName}`);
        if (text !== undefined)
          found.push({ entry: parseLoaderEntry(fileName, text), fileName, place, directory });
      }
    }
  }
  found.sort((a, b) => compareLoaderEntries(a.entry, b.entry));
  return found.flatMap(({ entry, fileName, place, directory }): Item[] => {
    const path = `${directory}/${fileName}`;
    if (isForeign(entry)) {
      search.found(place, `${path}: for another kind of machine (${entry.architecture})`);
      return [];
    }
    if (entry.linux === undefined) {
      const image = entry.efi === undefined ? undefined : imageCandidate(search, place, entry.efi);
      if (image === undefined) search.found(place, `${path}: names no kernel`);
      return image === undefined
        ? []
        : [{ fileName, candidate: { ...image, title: entry.title, id: entry.id } }];
    }
    const candidate: Candidate = {
      title: entry.title.includes(entry.version) ? entry.title : `${entry.title} (${entry.version})`,
      id: entry.id,
      kind: "loader-entry",
      place,
      path,
      kernel: { place, path: entry.linux },
      // Fedora's have variables of GRUB in them; those are for GRUB.
      initrds: entry.initrds
        .flatMap((value) => value.split(/\s+/))
        .filter((initrd) => initrd !== "" && !initrd.startsWith("$"))
        .map((initrd) => ({ place, path: initrd })),
      commandLine: entry.options.replaceAll(/(^|\s)\$\w+/g, "").trim(),
    };
    return [{ fileName, candidate }];
  });
}

function imageItems(search: Search): Item[] {
  const items: Item[] = [];
  for (const directory of UKI_DIRECTORIES) {
    for (const place of search.volumes) {
      for (const fileName of search.names(place, directory)) {
        if (!fileName.toLowerCase().endsWith(".efi") || items.length >= MAX_ENTRIES) continue;
        const candidate = imageCandidate(search, place, `${directory}/${fileName}`);
        if (candidate !== undefined) items.push({ fileName, candidate });
      }
    }
  }
  return items.sort((a, b) => compareVersions(b.fileName, a.fileName));
}

function imageCandidate(search: Search, place: ReadableVolume, path: string): Candidate | undefined {
  const node = search.node(place, path);
  if (node?.type !== "file") return undefined;
  try {
    const image = readUnifiedKernelImage(node);
    if (image === undefined) {
      search.found(place, `${path}: an EFI program without a kernel in it`);
      return undefined;
    }
    const { kernel, initrds, commandLine, title, version } = image;
    const name = title ?? path.replace(/^.*\//, "");
    return {
      title: version === undefined ? name : `${name} (${version})`,
      id: path.replace(/^.*\//, ""),
      kind: "unified-kernel-image",
      place,
      path,
      kernel: { place, path, section: kernel },
      initrds: initrds.map((section) => ({ place, path, section })),
      commandLine,
    };
  } catch (error) {
    if (!(error instanceof FilesystemError)) throw error;
    search.found(place, `${path}: ${error.message}`);
    return undefined;
  }
}

/** Whether a pattern of glob(7) with `*` and `?` matches; the case does not matter. */
function globMatches(pattern: string, name: string): boolean {
  const wanted = pattern.toLowerCase();
  const text = name.toLowerCase();
  let at = 0;
  let star = -1;
  let retry = 0;
  for (let index = 0; index < text.length;) {
    if (wanted[at] === "*") {
      star = at++;
      retry = index;
    } else if (at < wanted.length && (wanted[at] === "?" || wanted[at] === text[index])) {
      at++;
      index++;
    } else if (star >= 0) {
      // The last star takes one character more.
      at = star + 1;
      index = ++retry;
    } else {
      return false;
    }
  }
  while (wanted[at] === "*") at++;
  return at === wanted.length;
}
