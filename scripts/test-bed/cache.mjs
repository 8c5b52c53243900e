/** Files that are built once per content: ~/.cache/tsvm/test-bed/KIND-KEY/. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { TestBedError } from "./errors.mjs";
import { start } from "./processes.mjs";

/** Of each kind, for several checkouts at a time. */
const KEPT = 3;

export function cacheDirectory() {
  const cache = process.env.XDG_CACHE_HOME;
  return join(cache?.startsWith("/") ? cache : join(homedir(), ".cache"), "tsvm", "test-bed");
}

/** A key of all that decides what is built. */
export function keyOf(...parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("hex").slice(0, 20);
}

/**
 * The directory with what `build(directory)` makes; built now if it is not there. Only whole ones ever appear, and
 * several processes that want the same build it once.
 */
export async function cached(kind, key, build) {
  const cache = cacheDirectory();
  const path = join(cache, `${kind}-${key}`);
  if (!existsSync(path)) {
    mkdirSync(cache, { recursive: true });
    await locked(join(cache, `${kind}.lock`), async () => {
      if (existsSync(path)) return;
      const partial = join(cache, `.${kind}.partial`);
      rmSync(partial, { recursive: true, force: true }); // of somebody who was killed
      mkdirSync(partial);
      try {
        await build(partial);
        renameSync(partial, path);
      } finally {
        rmSync(partial, { recursive: true, force: true });
      }
    });
  }
  const now = new Date();
  utimesSync(path, now, now);
  forget(cache, kind);
  return path;
}

/** Removes those of a kind that have not been used for longest. Whoever has one open keeps it. */
function forget(cache, kind) {
  const paths = readdirSync(cache)
    .filter((name) => name.startsWith(`${kind}-`))
    .map((name) => join(cache, name));
  const newestFirst = paths
    .map((path) => ({ path, used: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.used - a.used);
  for (const { path } of newestFirst.slice(KEPT)) rmSync(path, { recursive: true, force: true });
}

/** Does the work while no other process does work under the same lock. The kernel frees the lock of one that dies. */
async function locked(path, work) {
  const holder = start("flock", [path, "sh", "-c", "echo; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
  const held = await Promise.race([
    once(holder.stdout, "data").then(() => true),
    once(holder, "close").then(() => false),
  ]);
  if (!held) throw new TestBedError(`cannot lock ${path}`);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await once(holder, "close");
  }
}
