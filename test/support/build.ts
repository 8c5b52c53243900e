/**
 * Before the integration tests: builds dist/, unless it is newer than all that it is made from, and makes one directory for
 * everything temporary. After them: removes it, whatever the tests have left there.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DIST, ROOT } from "./paths.ts";

const BUILT = ["cli.cjs", "monitor.cjs", "worker.cjs", "index.js"];

export default function setup(): () => void {
  build();
  const directory = mkdtempSync(join(tmpdir(), "tsvm-tests-"));
  chmodSync(directory, 0o755); // some tests become nobody
  process.env.TMPDIR = directory;
  return () => rmSync(directory, { recursive: true, force: true });
}

function build(): void {
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
