// Builds dist/: the bundled CLI, the library, the worker they share, and the type declarations.
//
//   node scripts/build.mjs [--no-types]
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

if (!existsSync("src")) process.exit(0); // an installed package: dist/ came with it

const { build, transform } = await import("esbuild");
rmSync("dist", { recursive: true, force: true });
mkdirSync("dist");

const common = {
  bundle: true,
  outdir: "dist",
  platform: "node",
  target: "node20.19",
  // koffi finds its native part beside itself.
  external: ["koffi"],
  // Names stay, for stack traces; what remains is quick to parse.
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: true,
  sourcesContent: false,
  logLevel: "warning",
};
await Promise.all([
  buildCommonJs({ cli: "src/cli/main.ts" }),
  buildCommonJs({ monitor: "src/manager/monitor/main.ts" }),
  buildCommonJs({ worker: "src/machine/worker.ts" }),
  build({ ...common, entryPoints: { index: "src/index.ts" }, format: "esm" }),
]);

/**
 * CommonJS starts faster: importing a built-in module as ESM makes Node touch all of its exports, and with `fs` that loads the
 * whole of streams. What is imported dynamically goes into files of its own, so that a process or thread does not even read what
 * it does not need; esbuild does that only for ES modules, which are turned into CommonJS afterwards.
 */
async function buildCommonJs(entryPoints) {
  const extension = { outExtension: { ".js": ".cjs" } };
  const split = await build({
    ...common,
    ...extension,
    entryPoints,
    format: "esm",
    splitting: true,
    chunkNames: `${Object.keys(entryPoints)[0]}-[name]-[hash]`,
    define: { "import.meta.url": "importMetaUrl" },
    write: false,
  });
  const contents = Object.fromEntries(split.outputFiles.map(({ path, text }) => [path, text]));
  const files = Object.keys(contents).filter((path) => path.endsWith(".cjs"));
  await Promise.all(files.map((path) => writeCommonJs(path, contents[path], contents[`${path}.map`])));
}

async function writeCommonJs(path, esm, map) {
  const source = esm.replace(/\n\/\/# sourceMappingURL=.*\n?$/, "");
  const inlineMap = `\n//# sourceMappingURL=data:application/json;base64,${Buffer.from(map).toString("base64")}\n`;
  const { code, map: newMap } = await transform(source + inlineMap, {
    format: "cjs",
    platform: "node",
    target: common.target,
    supported: { "dynamic-import": false },
    minifySyntax: true,
    minifyWhitespace: true,
    sourcemap: "external",
    sourcesContent: false,
    sourcefile: basename(path),
    banner: source.includes("importMetaUrl")
      ? 'const importMetaUrl = require("node:url").pathToFileURL(__filename).href;'
      : undefined,
  });
  await writeFile(path, `${code}//# sourceMappingURL=${basename(path)}.map\n`);
  await writeFile(`${path}.map`, newMap);
}

chmodSync("dist/cli.cjs", 0o755);
if (!process.argv.includes("--no-types")) {
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.types.json"], {
    stdio: "inherit",
  });
}
