/** Makes files that are there as a whole or not at all. */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  realpathSync,
  statSync,
  type Stats,
} from "node:fs";
import { chmod, chown, link, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DiskError } from "./errors.ts";
import { lockImage } from "./lock.ts";

export interface NewFileOptions {
  /** Whether an existing file may be replaced. */
  readonly replace: boolean;
  /** Permissions of a file that replaces none; what the umask forbids is left out. */
  readonly mode?: number | undefined;
  /** Files that are never replaced: those it is made from. */
  readonly sources?: readonly string[];
  /** When it is aborted in time, the file does not come to be. */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_MODE = 0o666;
const PRIVATE_MODE = 0o600;
/** Of a file's name on common file systems. Bytes. */
const NAME_MAX = 255;

/**
 * Has `make` fill an empty file under a temporary name beside `path`, and gives it its name when that is done and the content
 * is on stable storage. Whatever fails, nothing stays behind, and a file that was to be replaced is as it was; it keeps its
 * permissions, and nobody may be using it as an image. Throws a DiskError and what `make` throws.
 */
export async function makeFile(
  path: string,
  { replace, mode = DEFAULT_MODE, sources = [], signal }: NewFileOptions,
  make: (temporary: string) => Promise<void>,
): Promise<void> {
  let old: OldFile | undefined;
  let temporary: string | undefined;
  try {
    if (replace) old = openOld(path, sources);
    else refuseOld(path);
    const target = old?.target ?? path;
    temporary = await createTemporary(path, target, old === undefined ? mode : PRIVATE_MODE);
    await make(temporary);
    if (old !== undefined) await copyPermissions(old.stat, temporary);
    await sync(temporary);
    signal?.throwIfAborted();
    if (old === undefined) await giveName(path, temporary);
    else await rename(temporary, target);
    temporary = undefined;
    await sync(dirname(target)).catch(() => undefined); // not every file system can
  } catch (error) {
    throw isSystemError(error) ? explain(path, error) : error;
  } finally {
    if (temporary !== undefined) await rm(temporary, { force: true });
    if (old !== undefined) closeSync(old.fd);
  }
}

interface OldFile {
  /** Of the file itself, where `path` is a symbolic link. */
  readonly target: string;
  /** Keeps it locked. */
  readonly fd: number;
  readonly stat: Stats;
}

function refuseOld(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (stat.isDirectory()) throw new DiskError(path, "is a directory", "name a file in it");
  throw existsAlready(path);
}

function existsAlready(path: string): DiskError {
  return new DiskError(path, "exists already", "--force replaces it");
}

/** Undefined where there is nothing to replace. Throws a DiskError for what must not be. */
function openOld(path: string, sources: readonly string[]): OldFile | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
    throw new DiskError(path, "is a symbolic link that leads nowhere", "remove it first");
  }
  if (!stat.isFile()) {
    const what = stat.isDirectory()
      ? "a directory"
      : stat.isBlockDevice()
        ? "a block device"
        : "a special file";
    throw new DiskError(path, `is ${what}; --force replaces only files`, "name another place");
  }
  for (const source of sources) {
    const { dev, ino } = statSync(source);
    if (dev !== stat.dev || ino !== stat.ino) continue;
    throw new DiskError(path, `the new image needs ${source}, which is the same file`, "name another one");
  }
  const target = realpathSync(path);
  const fd = openSync(target, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    lockImage(path, fd, true);
    return { target, fd, stat: fstatSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

async function createTemporary(path: string, target: string, mode: number): Promise<string> {
  if (target === "" || target.endsWith("/")) throw new DiskError(path, "is not the name of a file");
  const suffix = `.${randomBytes(4).toString("hex")}.tmp`;
  // Cut by bytes; of a character cut in two one of three bytes is made.
  const start = Buffer.from(basename(target)).subarray(0, NAME_MAX - suffix.length - 4);
  const temporary = join(dirname(target), `.${start.toString()}${suffix}`);
  await (await open(temporary, "wx", mode)).close();
  return temporary;
}

async function copyPermissions({ mode, uid, gid }: Stats, path: string): Promise<void> {
  // Only root may give files away.
  await chown(path, uid, gid).catch(() => undefined);
  await chmod(path, mode & 0o777);
}

async function sync(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Never replaces what has come into being meanwhile. */
async function giveName(path: string, temporary: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    const code = isSystemError(error) ? error.code : undefined;
    if (code === "EEXIST") throw existsAlready(path);
    if (code !== "EPERM" && code !== "EOPNOTSUPP" && code !== "ENOSYS") throw error;
    // A file system without hard links.
    refuseOld(path);
    await rename(temporary, path);
    return;
  }
  await rm(temporary);
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error && "code" in error;
}

function explain(path: string, error: NodeJS.ErrnoException): DiskError {
  const directory = dirname(path);
  switch (error.code) {
    case "ENOENT":
    case "ENOTDIR":
      return new DiskError(
        path,
        `there is no directory ${directory}`,
        `make it: mkdir -p ${directory}`,
        error,
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new DiskError(path, "this host does not let you write there", "name another place", error);
    case "ENOSPC":
    case "EDQUOT":
      return new DiskError(path, "no space left on the host's disk", "free some space", error);
    default:
      return new DiskError(path, `cannot be made: ${error.code}`, undefined, error);
  }
}
