// Builds dist/: the bundled CLI, the library, the worker they share, and the type declarations.
//
//   node scripts/build.mjs [--no-types]
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);

if (!existsSync("src")) process.exit(0); // an installed package: dist/ came with it

const { build } = await import("esbuild");
rmSync("dist", { recursive: true, force: true });

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
// Parsers and schema of definition files are as large as all the rest, and few commands need them: a bundle of their own, which
// is read when they do.
const definitionApart = {
  name: "definition-apart",
  setup({ onResolve }) {
    onResolve({ filter: /\/definition\/index\.ts$/ }, ({ kind }) =>
      kind === "entry-point" ? undefined : { path: "./definition.cjs", external: true },
    );
  },
};
await Promise.all([
  // CommonJS starts faster: importing a built-in module as ESM makes Node touch all of its exports, and with
  // `fs` that loads the whole of streams.
  build({
    ...common,
    entryPoints: {
      cli: "src/cli/main.ts",
      monitor: "src/manager/monitor/main.ts",
      worker: "src/machine/worker.ts",
      definition: "src/definition/index.ts",
    },
    plugins: [definitionApart],
    format: "cjs",
    outExtension: { ".js": ".cjs" },
    define: { "import.meta.url": "importMetaUrl" },
    banner: { js: 'const importMetaUrl = require("node:url").pathToFileURL(__filename).href;' },
  }),
  build({ ...common, entryPoints: { index: "src/index.ts" }, format: "esm" }),
]);
chmodSync("dist/cli.cjs", 0o755);
if (!process.argv.includes("--no-types")) {
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.types.json"], {
    stdio: "inherit",
  });
}
