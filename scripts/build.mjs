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
await build({
  entryPoints: { cli: "src/cli/main.ts", index: "src/index.ts", worker: "src/machine/worker.ts" },
  outdir: "dist",
  bundle: true,
  splitting: true,
  chunkNames: "[name]-[hash]",
  format: "esm",
  platform: "node",
  target: "node20.19",
  // Flat: worker.js and images/ are found relative to whichever file asks.
  // commander is CommonJS inside and requires Node's modules.
  banner: { js: 'import { createRequire as $cr } from "node:module"; const require = $cr(import.meta.url);' },
  // koffi finds its native part beside itself.
  external: ["koffi"],
  minifySyntax: true,
  sourcemap: true,
  sourcesContent: false,
  logLevel: "warning",
});
chmodSync("dist/cli.js", 0o755);
if (!process.argv.includes("--no-types")) {
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.types.json"], {
    stdio: "inherit",
  });
}
