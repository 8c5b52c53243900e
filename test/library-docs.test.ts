/** The documentation's examples do what it says, and the types that are published accept them. */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { transform } from "esbuild";
import { describe, expect, test } from "vitest";
import { docstringExamples, markdownExamples } from "./support/examples.ts";
import { LIBRARY, runProgram } from "./support/library.ts";
import { KVM, suite } from "./support/needs.ts";
import { ROOT } from "./support/paths.ts";
import { scratch } from "./support/scratch.ts";
import { BOOT_LIMIT_MS } from "./support/tsvm.ts";

const examples = [
  ...markdownExamples("README.md"),
  ...markdownExamples("docs/library.md"),
  ...docstringExamples("src/machine/machine.ts"),
  ...docstringExamples("src/sandbox/sandbox.ts"),
];

test("there are examples in all places where they are looked for", () => {
  const places = new Set(examples.map(({ where }) => where.replace(/:\d+$/, "")));
  expect([...places]).toEqual([
    "README.md",
    "docs/library.md",
    "src/machine/machine.ts",
    "src/sandbox/sandbox.ts",
  ]);
  expect(examples.length).toBeGreaterThan(10);
});

suite("the example of", [KVM], () => {
  test.each(examples)(
    "$where",
    async ({ source, output }) => {
      // `await using` is newer than Node 20.
      const { code } = await transform(source, { loader: "ts", target: "node20.19" });
      const program = code.replaceAll(/from "tsvm"/g, `from ${JSON.stringify(LIBRARY)}`);
      const result = await runProgram(program, { limit: 2 * BOOT_LIMIT_MS });
      expect(result).toMatchObject({ status: 0, stderr: "" });
      // Lines that a guest prints end with \r\n on its terminal.
      if (output !== undefined) expect(result.stdout.replaceAll("\r\n", "\n")).toBe(output);
    },
    2.5 * BOOT_LIMIT_MS,
  );
});

describe("the published types", () => {
  const files = scratch();

  test("accept the examples, and all that they mean, with every check of the compiler", () => {
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    const run = (...args: string[]): void => {
      try {
        execFileSync(process.execPath, [tsc, ...args], { cwd: files.directory, encoding: "utf8" });
      } catch (error) {
        throw new Error((error as { stdout: string }).stdout, { cause: error });
      }
    };
    const types = files.path("types");
    run("-p", join(ROOT, "tsconfig.types.json"), "--outDir", types);
    symlinkSync(join(ROOT, "node_modules"), files.path("node_modules"));
    mkdirSync(files.path("examples"));
    for (const [index, { where, source }] of examples.entries()) {
      writeFileSync(files.path(`examples/${index}.ts`), `// ${where}\n${source}\nexport {};\n`);
    }
    const options = {
      target: "ES2022",
      lib: ["ES2022", "ESNext.Disposable"],
      module: "NodeNext",
      types: ["node"],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      noEmit: true,
      paths: { tsvm: [join(types, "index.d.ts")] },
    };
    const config = { compilerOptions: options, include: ["examples"] };
    files.path("package.json", JSON.stringify({ type: "module" }));
    files.path("tsconfig.json", JSON.stringify(config));
    run("-p", files.directory);
  });
});
