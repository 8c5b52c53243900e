/** Finds what a path leads to. */
import { ImagePathError } from "./errors.ts";
import type { FileNode, FileSystem } from "./filesystem.ts";

/** As many as Linux follows. */
const MAX_SYMLINKS = 40;
/** PATH_MAX would do; targets of links add to the path on its way. */
const MAX_COMPONENTS = 4096;

export interface PathOptions {
  /** Follow the last component too if it is a symbolic link; true by default. */
  readonly follow?: boolean;
}

/**
 * What `path` leads to, counted from the root of the file system whether it begins with a slash or not. Symbolic links do
 * not leave the file system: `..` of the root is the root.
 *
 * @throws {ImagePathError} if there is no such thing.
 */
export function resolvePath(fs: FileSystem, path: string, { follow = true }: PathOptions = {}): FileNode {
  return resolveWithName(fs, path, { follow }).node;
}

/** Like {@link resolvePath}, with the path as it is without symbolic links. */
export function resolveWithName(
  fs: FileSystem,
  path: string,
  { follow = true }: PathOptions = {},
): { node: FileNode; path: string } {
  const error = (problem: "not-found" | "not-a-directory" | "loop"): ImagePathError =>
    new ImagePathError(fs.name, path, problem);
  /** From below the root to where we are. */
  const trail: { name: string; node: FileNode }[] = [];
  const here = (): FileNode => trail.at(-1)?.node ?? fs.root;
  /** What is left, the next one last. */
  const todo = components(path).reverse();
  const wantsDirectory = path.endsWith("/");
  let links = 0;
  for (let steps = 0; todo.length > 0; steps++) {
    if (steps > MAX_COMPONENTS) throw error("loop");
    const name = todo.pop()!;
    if (here().type !== "directory") throw error("not-a-directory");
    if (name === ".") continue;
    if (name === "..") {
      trail.pop();
      continue;
    }
    const node = here().lookup(name);
    if (node === undefined) throw error("not-found");
    if (node.type === "symlink" && (follow || todo.length > 0 || wantsDirectory)) {
      if (++links > MAX_SYMLINKS) throw error("loop");
      const target = node.target();
      if (target.startsWith("/")) trail.length = 0;
      todo.push(...components(target).reverse());
      continue;
    }
    trail.push({ name, node });
  }
  if (wantsDirectory && here().type !== "directory") throw error("not-a-directory");
  return { node: here(), path: `/${trail.map(({ name }) => name).join("/")}` };
}

/** Like {@link resolvePath}, but undefined if there is no such thing. Damage is still an error. */
export function lookupPath(fs: FileSystem, path: string, options?: PathOptions): FileNode | undefined {
  try {
    return resolvePath(fs, path, options);
  } catch (error) {
    if (error instanceof ImagePathError) return undefined;
    throw error;
  }
}

function components(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}
