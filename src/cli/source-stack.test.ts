import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { transformSync } from "esbuild";
import { afterAll, expect, it } from "vitest";
import { sourceStack } from "./source-stack.ts";

const directory = mkdtempSync(join(tmpdir(), "tsvm-stack-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

it("names the lines of the sources, where there is a source map", () => {
  const source = "export function first() {}\n\nexport function second() {\n  throw new Error();\n}\n";
  const { code, map } = transformSync(source, {
    minify: true,
    sourcemap: "external",
    sourcefile: "../src/second.ts",
  });
  mkdirSync(join(directory, "dist"));
  const bundle = join(directory, "dist/bundle.cjs");
  writeFileSync(bundle, code);
  writeFileSync(`${bundle}.map`, map);
  const column = code.indexOf("throw") + 1;
  const elsewhere = [
    "at Module._compile (node:internal/modules/cjs/loader:1554:14)",
    "at load (/nonexistent/koffi.cjs:3:1)",
  ];
  const stack = [
    "Error",
    `at second (${bundle}:1:${column})`,
    `at file://${bundle}:1:${column}`,
    ...elsewhere,
  ];
  const place = "src/second.ts:4:3";
  expect(sourceStack(stack.join("\n")).split("\n")).toEqual([
    "Error",
    `at second (${place})`,
    `at ${place}`,
    ...elsewhere,
  ]);
});
