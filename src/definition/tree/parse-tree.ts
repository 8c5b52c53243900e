/**
 * YAML or JSON (which YAML includes) as plain values that remember where they stand.
 *
 * The nodes of the YAML parser are converted here and not by the parser, because of what hostile files do: aliases that expand
 * without end, depth, keys like `__proto__`.
 */
import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  parseDocument,
  Scalar,
  visit,
  type Document,
  type Pair,
  type YAMLMap,
} from "yaml";
import type { Place, Problems } from "../problems.ts";
import type { Range } from "../source.ts";
import { elementPath } from "./element-path.ts";

/** Nobody's definition is nested this deeply. */
const DEEPEST = 32;
/** Values after all aliases are expanded. */
const MOST_VALUES = 20_000;

export interface TreeOptions {
  /** Replaces variables in every text. */
  readonly interpolate?: ((text: string, place: Place) => string) | undefined;
}

/** A document: its value, and the ranges of its keys and values by {@link elementPath}. */
export class Tree {
  readonly value: unknown;
  readonly #keys: ReadonlyMap<string, Range>;
  readonly #values: ReadonlyMap<string, Range>;

  constructor(value: unknown, keys: ReadonlyMap<string, Range>, values: ReadonlyMap<string, Range>) {
    this.value = value;
    this.#keys = keys;
    this.#values = values;
  }

  /** Where a value stands; where it is missing, the nearest thing around it. */
  at(path: readonly PropertyKey[]): Place {
    for (let length = path.length; length >= 0; length--) {
      const around = elementPath(path.slice(0, length));
      const range =
        length === path.length
          ? this.#values.get(around)
          : (this.#keys.get(around) ?? this.#values.get(around));
      if (range !== undefined) return { range, element: elementPath(path) };
    }
    return { element: elementPath(path) };
  }

  /** Where the key of a value stands. */
  atKey(path: readonly PropertyKey[]): Place {
    const range = this.#keys.get(elementPath(path));
    return range === undefined ? this.at(path) : { range, element: elementPath(path) };
  }
}

/** Undefined where the text is no YAML at all, which `problems` then tell. */
export function parseTree(problems: Problems, options: TreeOptions = {}): Tree | undefined {
  const { text } = problems.source;
  let document: Document.Parsed;
  try {
    // Our own check of keys names both lines.
    document = parseDocument(text, { prettyErrors: false, uniqueKeys: false, logLevel: "error" });
  } catch (error) {
    // The parser calls itself for each level.
    if (!(error instanceof RangeError)) throw error;
    problems.error("the file is nested too deeply");
    return undefined;
  }
  for (const { message, pos } of [...document.errors, ...document.warnings]) {
    const [error, hint] = syntaxMessage(message);
    problems.error(error, { range: withinText(pos, text) }, hint);
  }
  if (document.errors.length > 0) {
    tellMissingAnchors(document, problems);
    return undefined;
  }
  return new Converter(document.contents, problems, options).convert();
}

function syntaxMessage(message: string): [message: string, hint?: string] {
  if (message.includes("Maximum call stack")) return ["the file is nested too deeply"];
  if (message.startsWith("Source contains multiple documents"))
    return ["the file has several YAML documents (---): put them into one, under vms:"];
  if (message.startsWith("Alias cannot be an empty string"))
    return [
      "* begins an alias, and there is no name behind it",
      'put a text that begins with * into quotes: "*"',
    ];
  return [message.charAt(0).toLowerCase() + message.slice(1)];
}

/** What is missing at the end is told at the last character, not in a line behind it. */
function withinText([start, end]: Range, text: string): Range {
  const last = Math.max(0, text.trimEnd().length - 1);
  return start <= last ? [start, end] : [last, last + 1];
}

/** Aliases that would be wrong whatever the rest of the file is: nowhere in it is there an anchor of that name. */
function tellMissingAnchors(document: Document.Parsed, problems: Problems): void {
  visit(document, {
    Alias(_, alias) {
      const { source: name } = alias;
      if (name === "" || problems.source.text.includes(`&${name}`)) return;
      problems.error(missingAnchor(name), { range: rangeOf(alias) });
    },
  });
}

function missingAnchor(name: string): string {
  return `*${name}: there is no &${name} above`;
}

class Converter {
  readonly #contents: unknown;
  readonly #problems: Problems;
  readonly #interpolate: TreeOptions["interpolate"];
  readonly #keys = new Map<string, Range>();
  readonly #values = new Map<string, Range>();
  /** Filled in the order of the file, as an alias means the nearest anchor above it. */
  readonly #anchors = new Map<string, unknown>();
  /** What is being converted: an alias of it would have no end. */
  readonly #open = new Set<unknown>();
  /** What is being merged. */
  readonly #merging = new Set<YAMLMap>();
  #count = 0;
  /** Enough was wrong. */
  #stopped = false;

  constructor(contents: unknown, problems: Problems, { interpolate }: TreeOptions) {
    this.#contents = contents;
    this.#problems = problems;
    this.#interpolate = interpolate;
  }

  convert(): Tree | undefined {
    const value = this.#convert(this.#contents, []);
    if (this.#stopped) return undefined;
    return new Tree(value, this.#keys, this.#values);
  }

  #convert(node: unknown, path: PropertyKey[]): unknown {
    const range = rangeOf(node);
    if (range !== undefined) this.#values.set(elementPath(path), range);
    const place: Place = { range, element: elementPath(path) };
    if (this.#exhausted(place)) return null;
    if (path.length > DEEPEST) {
      this.#stopped = true;
      this.#problems.error(`nested more than ${DEEPEST} levels deep`, place);
      return null;
    }
    if (isAlias(node)) return this.#alias(node.source, place, path);
    if (!isNode(node)) return null;
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    this.#open.add(node);
    const value = this.#collection(node, path, place);
    this.#open.delete(node);
    return value;
  }

  #collection(node: unknown, path: PropertyKey[], place: Place): unknown {
    if (isMap(node)) {
      const result: Record<string, unknown> = {};
      this.#fill(result, node, path, false);
      return result;
    }
    if (isSeq(node)) return node.items.map((item, index) => this.#convert(item, [...path, index]));
    return this.#scalar(node, place);
  }

  #exhausted(place: Place): boolean {
    if (this.#stopped) return true;
    this.#stopped = ++this.#count > MOST_VALUES;
    if (this.#stopped) {
      this.#problems.error(
        `the file has more than ${MOST_VALUES} values with its aliases (*) expanded`,
        place,
      );
    }
    return this.#stopped;
  }

  #target(name: string, place: Place): unknown {
    const target = this.#anchors.get(name);
    if (target === undefined) this.#problems.error(missingAnchor(name), place);
    return target;
  }

  #alias(name: string, place: Place, path: PropertyKey[]): unknown {
    const target = this.#target(name, place);
    if (this.#open.has(target)) {
      this.#problems.error(`*${name} is part of &${name} itself`, place);
      return null;
    }
    const value = this.#convert(target, path);
    // What is wrong with the value is told where it is used.
    if (place.range !== undefined) this.#values.set(elementPath(path), place.range);
    return value;
  }

  #scalar(node: unknown, place: Place): unknown {
    if (!isScalar(node)) return null;
    const { value } = node;
    return typeof value === "string" && this.#interpolate !== undefined
      ? this.#interpolate(value, place)
      : value;
  }

  /** @param merging What is there already stays. */
  #fill(result: Record<string, unknown>, map: YAMLMap, path: PropertyKey[], merging: boolean): void {
    const merged: YAMLMap[] = [];
    for (const pair of map.items) {
      const key = this.#key(pair, path);
      if (key === undefined) continue;
      if (key === "<<" && isScalar(pair.key) && pair.key.type === Scalar.PLAIN) {
        merged.push(...this.#mergeSources(pair.value, path));
        continue;
      }
      const place = [...path, key];
      const range = rangeOf(pair.key);
      if (Object.hasOwn(result, key)) {
        if (!merging) this.#duplicate(key, range, place);
        continue;
      }
      if (range !== undefined) this.#keys.set(elementPath(place), range);
      result[key] = this.#convert(pair.value, place);
    }
    this.#merging.add(map);
    for (const source of merged) {
      const place: Place = { range: rangeOf(source), element: elementPath(path) };
      if (this.#exhausted(place)) return;
      if (this.#merging.has(source)) this.#problems.error("<<: merges a mapping into itself", place);
      else this.#fill(result, source, path, true);
    }
    this.#merging.delete(map);
  }

  #duplicate(key: string, range: Range | undefined, path: PropertyKey[]): void {
    const first = this.#keys.get(elementPath(path));
    const line =
      first === undefined ? "" : `, first in line ${this.#problems.source.position(first[0]).line}`;
    this.#problems.error(`the key "${key}" is there twice${line}`, { range, element: elementPath(path) });
  }

  /** The mappings behind `<<:`. */
  #mergeSources(node: unknown, path: PropertyKey[]): YAMLMap[] {
    return (isSeq(node) ? node.items : [node]).flatMap((source) => {
      const place: Place = { range: rangeOf(source), element: elementPath(path) };
      const target = isAlias(source) ? this.#target(source.source, place) : source;
      if (isMap(target)) return [target];
      if (target !== undefined) this.#problems.error("<<: takes a mapping, or a list of mappings", place);
      return [];
    });
  }

  #key({ key }: Pair, path: PropertyKey[]): string | undefined {
    const place: Place = { range: rangeOf(key), element: elementPath(path) };
    if (!isScalar(key)) {
      this.#problems.error("a key must be a word", place);
      return undefined;
    }
    const text = typeof key.value === "string" ? key.value : (key.source ?? String(key.value));
    if (text === "__proto__") {
      this.#problems.error(`"${text}" cannot be a key`, place);
      return undefined;
    }
    return text;
  }
}

function rangeOf(node: unknown): Range | undefined {
  const range = (node as { range?: readonly [number, number, number] | null } | null)?.range;
  return range === undefined || range === null ? undefined : [range[0], range[1]];
}
