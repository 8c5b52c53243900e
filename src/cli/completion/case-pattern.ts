/** What the scripts for bash and zsh have in common: patterns of `case`, for the path of commands that has been typed. */
import type { CompletedCommand, Value } from "./tree.ts";

/** A path as the functions collect it: a space in front of each word. */
export function pattern(path: readonly string[]): string {
  return `"${path.map((word) => ` ${word}`).join("")}"`;
}

/** The commands that have a name. */
export function pathPatterns(tree: readonly CompletedCommand[]): string[] {
  return tree.filter(({ path }) => path.length > 0).map(({ path }) => pattern(path));
}

/** Of each option that takes a value: the patterns of its names, and the value. */
export function optionPatterns({ path, options }: CompletedCommand): { patterns: string[]; value: Value }[] {
  return options.flatMap(({ short, long, value }) => {
    if (value === undefined) return [];
    const patterns = [short, long].flatMap((name) => (name === undefined ? [] : [pattern([...path, name])]));
    return [{ patterns, value }];
  });
}
