import { build } from "esbuild";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Parts of the source as they are, bundled, since Node 20 runs no TypeScript. `exports`: names by path below src. */
export async function loadSource(exports) {
  // Below node_modules, so that the bundle finds koffi.
  const cache = join(root, "node_modules", ".cache");
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, "tsvm-bench-"));
  try {
    const outfile = join(directory, "bundle.mjs");
    const lines = Object.entries(exports).map(([path, names]) => `export { ${names} } from "./src/${path}";`);
    await build({
      stdin: { contents: lines.join("\n"), resolveDir: root, loader: "ts" },
      outfile,
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
      logLevel: "warning",
    });
    return await import(outfile);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
