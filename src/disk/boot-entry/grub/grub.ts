/** Entries of GRUB's menu, the one that it would start first. */
import { TsvmError } from "../../../errors.ts";
import { BootConfigError } from "../errors.ts";
import type { Candidate } from "../candidate.ts";
import type { ReadableVolume, Search } from "../search.ts";
import { runGrubConfig, type Chosen, type Menu, type MenuItem } from "./interpreter.ts";

const CONFIG_PATHS = ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub/grub.cfg", "/grub2/grub.cfg"];
const EFI_DIRECTORY = "/EFI";
const MAX_SUBMENUS = 10;
/** Items looked into, of one menu with all menus below. */
const MAX_ITEMS = 2000;

/** All entries that load a Linux kernel, the default first, then those to fall back to, then the rest in order. */
export function* grubCandidates(search: Search): Generator<Candidate> {
  for (const { place, path } of configurations(search)) {
    const text = search.text(place, path);
    if (text === undefined) continue;
    try {
      const menu = runGrubConfig(search, place, path, text);
      if (menu.items.length === 0) search.found(place, `${path}: has no entries`);
      yield* menuCandidates(search, place, path, menu);
    } catch (error) {
      if (!(error instanceof TsvmError)) throw error;
      search.found(place, `${path}: ${error.message}`);
    }
  }
}

function* configurations(search: Search): Generator<{ place: ReadableVolume; path: string }> {
  for (const path of CONFIG_PATHS) for (const place of search.volumes) yield { place, path };
  // Those on EFI system partitions mostly point to one of the others.
  for (const place of search.volumes) {
    for (const name of search.names(place, EFI_DIRECTORY)) {
      yield { place, path: `${EFI_DIRECTORY}/${name}/grub.cfg` };
    }
  }
}

interface Walk {
  readonly search: Search;
  readonly place: ReadableVolume;
  readonly path: string;
  left: number;
}

function* menuCandidates(
  search: Search,
  place: ReadableVolume,
  path: string,
  menu: Menu,
): Generator<Candidate> {
  const walk: Walk = { search, place, path, left: MAX_ITEMS };
  const seen = new Set<MenuItem>();
  for (const wanted of [menu.default, ...menu.fallback.split(/\s+/)]) {
    if (wanted !== "") yield* selectedCandidates(walk, menu, wanted, seen, 0);
  }
  yield* allCandidates(walk, menu, seen, 0);
}

/** What the value of `default` means: a number, an id or a title; with `>` between, of menus below. */
function* selectedCandidates(
  walk: Walk,
  menu: Menu,
  wanted: string,
  seen: Set<MenuItem>,
  depth: number,
): Generator<Candidate> {
  // Titles may contain the separator, doubled.
  const [first = "", ...rest] = wanted.split(/(?<!>)>(?!>)/);
  const name = first.replaceAll(">>", ">");
  const whole = wanted.replaceAll(">>", ">");
  const item =
    menu.items.find(({ id }) => id === whole) ??
    menu.items.find(({ title }) => title === whole) ??
    menu.items.find(({ id }) => id === name) ??
    menu.items.find(({ title }) => title === name) ??
    (/^\d+$/.test(name) ? menu.items[Number(name)] : undefined);
  if (item === undefined || seen.has(item) || depth > MAX_SUBMENUS) return;
  const chosen = choose(walk, item);
  if (chosen === undefined) return;
  if (chosen.menu !== undefined && rest.length > 0) {
    yield* selectedCandidates(walk, chosen.menu, rest.join(">"), seen, depth + 1);
    return;
  }
  seen.add(item);
  yield* itemCandidates(walk, item, chosen, seen, depth);
}

function* allCandidates(walk: Walk, menu: Menu, seen: Set<MenuItem>, depth: number): Generator<Candidate> {
  if (depth > MAX_SUBMENUS) return;
  for (const item of menu.items) {
    if (seen.has(item)) continue;
    const chosen = choose(walk, item);
    if (chosen !== undefined) yield* itemCandidates(walk, item, chosen, seen, depth);
  }
}

function* itemCandidates(
  walk: Walk,
  item: MenuItem,
  chosen: Chosen,
  seen: Set<MenuItem>,
  depth: number,
): Generator<Candidate> {
  const { search, place, path } = walk;
  const { kernel, initrds, commandLine, menu, problem } = chosen;
  if (menu !== undefined) yield* allCandidates(walk, menu, seen, depth + 1);
  else if (kernel !== undefined && problem === undefined) {
    yield { title: item.title, id: item.id, kind: "grub", place, path, kernel, initrds, commandLine };
  } else if (problem !== undefined) {
    search.found(place, `${path}: entry "${item.title}": ${problem}`);
  }
}

function choose(walk: Walk, item: MenuItem): Chosen | undefined {
  if (walk.left-- <= 0) return undefined;
  try {
    return item.run();
  } catch (error) {
    if (!(error instanceof BootConfigError)) throw error;
    walk.search.found(walk.place, `${walk.path}: entry "${item.title}": ${error.message}`);
    return undefined;
  }
}
