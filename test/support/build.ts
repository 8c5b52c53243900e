/** Builds dist/ once before the integration tests, unless it is newer than all that it is made from. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { DIST, ROOT } from "./paths.ts";

const BUILT = ["cli.cjs", "worker.cjs", "index.js"];

export default function setup(): void {
  if (process.env.TSVM_TEST_DIST !== undefined) return; // somebody else's build is to be tested
  const built = Math.min(...BUILT.map((name) => modified(join(DIST, name))));
  const sources = ["package.json", "scripts/build.mjs", ...sourceFiles("src")];
  if (built > Math.max(...sources.map((name) => modified(join(ROOT, name))))) return;
  execFileSync(process.execPath, ["scripts/build.mjs", "--no-types"], {
    cwd: ROOT,
    stdio: "inherit",
    timeout: 120_000,
  });
}

function sourceFiles(directory: string): string[] {
  return readdirSync(join(ROOT, directory), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => join(directory, name));
}

/** 0 for a file that is not there. */
function modified(path: string): number {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}
