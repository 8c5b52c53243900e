/** Finds what an image would boot. docs/kernel-in-image.md says in which order. */
import type { BootEntry, LookedAt } from "./boot-entry.ts";
import { checkCandidate, type Candidate } from "./candidate.ts";
import { NoBootEntryError, NoKernelError } from "./errors.ts";
import { grubCandidates } from "./grub/grub.ts";
import { kernelFileCandidates } from "./kernel-files.ts";
import { Search, type SearchableImage } from "./search.ts";
import { syslinuxCandidates } from "./syslinux.ts";
import { systemdBootCandidates } from "./systemd-boot.ts";

/** Bytes that a search may read, cached or not. Real ones need some MiB. */
const ALLOWANCE = 4 * 2 ** 30;
const MAX_ENTRIES = 200;

export interface FindKernelOptions {
  /** Take the entry with this title, id, or kernel path, instead of the default. */
  readonly entry?: string | undefined;
}

export interface FoundKernel {
  readonly entry: BootEntry;
  /** Everything that was looked at before it was found. */
  readonly lookedAt: readonly LookedAt[];
}

/**
 * The kernel, initrds and command line that the image starts with.
 * @throws {NoKernelError} if there is none; it says where one was looked for. @throws {NoBootEntryError} if only others are there.
 */
export function findKernel(image: SearchableImage, { entry: wanted }: FindKernelOptions = {}): FoundKernel {
  return image.withAllowance(ALLOWANCE, () => {
    const search = new Search(image);
    const others = new Set<string>();
    for (const entry of entries(search)) {
      if (wanted === undefined || isWanted(entry, wanted)) return { entry, lookedAt: search.lookedAt() };
      if (others.size < MAX_ENTRIES) others.add(entry.title);
    }
    if (wanted !== undefined && others.size > 0) throw new NoBootEntryError(image.name, wanted, [...others]);
    throw new NoKernelError(image.name, search.lookedAt());
  });
}

/** All that can be booted, the default first. */
export function listKernels(image: SearchableImage): BootEntry[] {
  return image.withAllowance(ALLOWANCE, () => {
    const list: BootEntry[] = [];
    for (const entry of entries(new Search(image))) {
      if (!list.some((other) => isSame(entry, other))) list.push(entry);
      if (list.length >= MAX_ENTRIES) break;
    }
    return list;
  });
}

/** GRUB and systemd-boot may read the same entry, and every kernel of theirs is a file in /boot as well. */
function isSame(entry: BootEntry, other: BootEntry): boolean {
  const { kernel, id, commandLine, source } = entry;
  const sameKernel =
    kernel.partition === other.kernel.partition &&
    kernel.path === other.kernel.path &&
    kernel.offset === other.kernel.offset;
  if (!sameKernel) return false;
  return (
    source.kind === "kernel-file" ||
    commandLine === other.commandLine ||
    (id !== undefined && id === other.id)
  );
}

function* entries(search: Search): Generator<BootEntry> {
  for (const candidate of candidates(search)) {
    const entry = checkCandidate(search, candidate);
    if (entry !== undefined) yield entry;
  }
}

function* candidates(search: Search): Generator<Candidate> {
  yield* grubCandidates(search);
  yield* systemdBootCandidates(search);
  yield* syslinuxCandidates(search);
  yield* kernelFileCandidates(search);
}

function isWanted({ title, id, kernel }: BootEntry, wanted: string): boolean {
  return title === wanted || id === wanted || kernel.path === wanted || kernel.path.endsWith(`/${wanted}`);
}
