/** The examples of the documentation, as programs. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./paths.ts";

export interface Example {
  /** Where it stands: file and line. */
  readonly where: string;
  readonly source: string;
  /** What the documentation says that it prints. */
  readonly output: string | undefined;
}

/** The `ts` blocks of a Markdown file, each with the `console` block that follows it, if one does. */
export function markdownExamples(file: string): Example[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const blocks = text.matchAll(/^```ts\n([^]*?)^```\n(?:\n```console\n([^]*?)^```$)?/gm);
  return [...blocks].map(({ 1: source, 2: output, index }) => ({
    where: `${file}:${lineAt(text, index)}`,
    source: source!,
    output,
  }));
}

/** The `@example` blocks of a source file's docstrings. What the package exports they do not import. */
export function docstringExamples(file: string): Example[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const blocks = text.matchAll(/^( *)\* @example\n\1\* ```ts\n([^]*?)^\1\* ```$/gm);
  return [...blocks].map(({ 1: indent, 2: body, index }) => {
    const lines = body!.split("\n").map((line) => line.slice(indent!.length).replace(/^\* ?/, ""));
    return {
      where: `${file}:${lineAt(text, index)}`,
      source: `import { Machine, sandbox } from "tsvm";\n${lines.join("\n")}`,
      output: undefined,
    };
  });
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}
