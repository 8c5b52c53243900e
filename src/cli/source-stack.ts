/** Stack traces by the lines of the sources: what runs is bundled, with all of a file in a few long lines. */
import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const PLACE = /((?:file:\/\/)?\/[^()\n]+?\.c?js):(\d+):(\d+)/g;

/**
 * `stack` with every place in a file that has a source map beside it replaced by its place in the sources, relative to the folder
 * above the bundle's. Done by hand, since `process.setSourceMapsEnabled` counts only for what is loaded afterwards.
 */
export function sourceStack(stack: string): string {
  const maps = new Map<string, SourceMap | undefined>();
  return stack.replaceAll(PLACE, (whole, file: string, line: string, column: string) => {
    const path = file.startsWith("file://") ? fileURLToPath(file) : file;
    if (!maps.has(path)) maps.set(path, readMap(path));
    const entry = maps.get(path)?.findEntry(Number(line) - 1, Number(column) - 1);
    if (entry === undefined || !("originalSource" in entry)) return whole;
    const source = relative(resolve(dirname(path), ".."), resolve(dirname(path), entry.originalSource));
    return `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}

function readMap(path: string): SourceMap | undefined {
  try {
    return new SourceMap(
      JSON.parse(readFileSync(`${path}.map`, "utf8")) as ConstructorParameters<typeof SourceMap>[0],
    );
  } catch {
    // A file of Node's, or of koffi's.
    return undefined;
  }
}
