/** The checkout that goes into the machine. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./processes.mjs";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const BUILT = ["dist/cli.cjs", "dist/worker.cjs", "dist/index.js"];

/** Builds dist/ unless it is newer than all that it is made from. */
export async function buildIfOld() {
  const sources = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => `src/${name}`);
  const youngestSource = Math.max(...["package.json", "scripts/build.mjs", ...sources].map(modified));
  if (Math.min(...BUILT.map(modified)) > youngestSource) return;
  await run(process.execPath, ["scripts/build.mjs", "--no-types"], { cwd: ROOT });
}

/** Of a file in the checkout, in ms; 0 if it is not there. */
function modified(name) {
  const path = join(ROOT, name);
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}
