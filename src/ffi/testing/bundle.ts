/**
 * Runs a TypeScript file of this repository where vitest does not reach: in another process or in a worker thread. It is
 * bundled first, since Node 20 runs no TypeScript.
 */
import { build } from "esbuild";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MODULES = fileURLToPath(new URL("../../../node_modules", import.meta.url));

/** Bundles `entry` (a file URL); the result is the path of a file for `node` or `new Worker`. */
export async function bundleForNode(entry: URL): Promise<{ path: string; remove: () => void }> {
  // Below node_modules, so that the bundle finds the packages that stay outside of it.
  const cache = join(MODULES, ".cache");
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, "tsvm-test-"));
  const path = join(directory, "bundle.mjs");
  await build({
    entryPoints: [fileURLToPath(entry)],
    outfile: path,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    logLevel: "warning",
  });
  return { path, remove: () => rmSync(directory, { recursive: true, force: true }) };
}
