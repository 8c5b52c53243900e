/** JSON files that are whole at any time, and know which version of tsvm wrote them. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { directoryError, ManagerError } from "./errors.ts";

/** Raised when an older tsvm would misunderstand what this one writes. */
export const FORMAT = 1;
/** Files are filled up with spaces to this, so that a later version of one fits into the same blocks. */
const BLOCK = 4096;

/**
 * Writes a new file and renames it over the old one; the file is on stable storage then. Whoever calls holds the lock that
 * guards the file, so the new file's name is always the same and none are left behind. Throws a ManagerError, with the old file
 * untouched.
 */
export function writeJson(path: string, content: object): void {
  const temporary = `${path}.new`;
  try {
    writeAll(openSync(temporary, "w", 0o600), paddedText(content));
    renameSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw directoryError("cannot be written", path, error);
  }
}

/**
 * On a full disk: writes over the old file, whose blocks are there already. What is at most one block goes to the page cache in one
 * step, so readers see the old file or the new one; only a crash of the host could leave a mixture.
 */
export function overwriteJson(path: string, content: object): void {
  try {
    writeAll(openSync(path, "r+"), paddedText(content));
  } catch (error) {
    throw directoryError("cannot be written", path, error);
  }
}

/**
 * Undefined where there is no file. Throws a ManagerError for one of a newer version, or one that is damaged: that no JSON object
 * is in it or that `isWhole` does not accept.
 */
export function readJson<T extends object>(path: string, isWhole: (content: T) => boolean): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw directoryError("cannot be read", path, error);
  }
  const content = parse(text) as (T & { format?: unknown }) | undefined;
  if (typeof content?.format === "number" && content.format > FORMAT) {
    throw new ManagerError(
      "ERR_STATE_VERSION",
      `${path}: written by a newer tsvm (format ${content.format}, this one knows ${FORMAT})`,
      "use that tsvm; this one leaves the file as it is",
    );
  }
  if (content === undefined || content.format !== FORMAT || !isWhole(content)) {
    throw new ManagerError(
      "ERR_STATE_DAMAGED",
      `${path}: damaged`,
      "restore it, or remove the VM: tsvm rm --force",
    );
  }
  return content;
}

function parse(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function paddedText(content: object): Buffer {
  const text = Buffer.from(`${JSON.stringify({ format: FORMAT, ...content }, null, 2)}\n`);
  const size = Math.ceil(text.length / BLOCK) * BLOCK;
  return Buffer.concat([text.subarray(0, -1), Buffer.alloc(size - text.length, " "), Buffer.from("\n")]);
}

/** Writes all, makes it stable, and closes. */
function writeAll(fd: number, bytes: Buffer): void {
  try {
    let at = 0;
    while (at < bytes.length) at += writeSync(fd, bytes, at, bytes.length - at, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
