/** An entry as a configuration describes it, and the check of whether there is what it says. */
import { HEAD_SIZE, identifyFile } from "../../boot/file-kind.ts";
import { FilesystemError } from "../filesystem/errors.ts";
import type { FileNode } from "../filesystem/filesystem.ts";
import { lookupPath } from "../filesystem/path.ts";
import { readRange } from "../filesystem/read.ts";
import type { BootEntry, BootSource, ImageFile } from "./boot-entry.ts";
import { locateRoot, rootParameter } from "./root.ts";
import type { ReadableVolume, Search } from "./search.ts";

/** A file that should be there. */
export interface FileReference {
  readonly place: ReadableVolume;
  readonly path: string;
  /** Only this part of it. */
  readonly section?: { readonly offset: number; readonly size: number };
}

export interface Candidate {
  readonly title: string;
  readonly id: string | undefined;
  readonly kind: BootSource["kind"];
  readonly place: ReadableVolume;
  /** Of the configuration, or of the kernel if there is none. */
  readonly path: string;
  readonly kernel: FileReference;
  readonly initrds: readonly FileReference[];
  readonly commandLine: string;
}

/** Far beyond any kernel; an initrd with firmware for everything has some hundreds of MiB. */
export const MAX_BOOT_FILE_SIZE = 2 ** 30;

/** The entry, if its files are there and the kernel is one that can run here. If not, that is noted. */
export function checkCandidate(search: Search, candidate: Candidate): BootEntry | undefined {
  const { title, id, kind, place, path, kernel, initrds, commandLine } = candidate;
  const entryName = kind === "kernel-file" ? path : `${path}: entry "${title}"`;
  const kernelFile = findFile(kernel);
  if (typeof kernelFile === "string") {
    search.found(place, kind === "kernel-file" ? kernelFile : `${entryName}: ${kernelFile}`);
    return undefined;
  }
  const wrong = whyNotAKernel(kernelFile);
  if (wrong !== undefined) {
    search.found(
      place,
      kind === "kernel-file" ? `${path} ${wrong}` : `${entryName}: ${kernel.path} ${wrong}`,
    );
    return undefined;
  }
  const notes: string[] = [];
  const initrdFiles: ImageFile[] = [];
  for (const initrd of initrds) {
    const file = findFile(initrd);
    if (typeof file !== "string") initrdFiles.push(file.file);
    else if (initrds.length === 1) {
      // Without its only initrd a distribution's kernel does not find its root.
      search.found(place, `${entryName}: ${file}`);
      return undefined;
    } else notes.push(`left out: initrd ${file}`);
  }
  const line = completeCommandLine(search, kind, commandLine, initrdFiles.length > 0);
  const root = locateRoot(search, line);
  if (typeof root === "string") notes.push(root);
  return {
    title,
    id,
    source: { kind, partition: place.partition, path },
    kernel: kernelFile.file,
    initrds: initrdFiles,
    commandLine: line,
    root: typeof root === "string" ? undefined : root,
    notes,
  };
}

/** What boots without `root=`: live systems and installers. */
const NEEDS_NO_ROOT =
  /(?:^|\s)(?:boot=|rd\.live|root=|inst\.|archiso|alpine_dev=|modloop=|netboot=|install=)/;

function completeCommandLine(
  search: Search,
  kind: BootSource["kind"],
  commandLine: string,
  initrd: boolean,
): string {
  // Where these leave it out, firmware and boot loader would tell systemd, which nobody does here.
  if (kind === "grub" || kind === "syslinux" || NEEDS_NO_ROOT.test(commandLine)) return commandLine;
  const root = rootParameter(search, initrd);
  return root === undefined ? commandLine : `${root} ${commandLine}`.trim();
}

interface FoundFile {
  readonly file: ImageFile;
  readonly node: FileNode;
}

/** The file, or what is wrong with it. */
function findFile({ place, path, section }: FileReference): FoundFile | string {
  let node: FileNode | undefined;
  let seen = path;
  try {
    for (const variant of pathVariants(path)) {
      node = lookupPath(place.fs, variant);
      seen = variant;
      if (node !== undefined) break;
    }
  } catch (error) {
    if (error instanceof FilesystemError) return error.message;
    throw error;
  }
  const size = section?.size ?? node?.size ?? 0;
  if (node === undefined) return `${path}: no such file on ${place.volume.name}`;
  if (node.type !== "file") return `${path} is not a file`;
  if (size === 0) return `${path} is empty`;
  if (size > MAX_BOOT_FILE_SIZE) return `${path} is too large (${size} bytes)`;
  return { node, file: { partition: place.partition, path: seen, size, offset: section?.offset ?? 0 } };
}

/** The same file from the root of a separate /boot partition, and from that of the file system it is mounted in. */
function* pathVariants(path: string): Generator<string> {
  const absolute = `/${path.replace(/^\/+/, "")}`;
  yield absolute;
  if (absolute.startsWith("/boot/")) yield absolute.slice("/boot".length);
  else yield `/boot${absolute}`;
}

function whyNotAKernel({ node, file }: FoundFile): string | undefined {
  let head: Uint8Array;
  try {
    head = readRange(node, file.offset, Math.min(HEAD_SIZE, file.size));
  } catch (error) {
    if (error instanceof FilesystemError) return `cannot be read: ${error.message}`;
    throw error;
  }
  const { role, description } = identifyFile(head, file.size);
  return role === "kernel" ? undefined : `is not a kernel for this machine but ${description}`;
}
