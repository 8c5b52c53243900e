/** Finds what an image would boot. docs/kernel-in-image.md says in which order. */
import type { DiskImage } from "../filesystem/disk-image.ts";
import type { BootEntry, LookedAt } from "./boot-entry.ts";
import { checkCandidate, type Candidate } from "./candidate.ts";
import { NoKernelError } from "./errors.ts";
import { grubCandidates } from "./grub/grub.ts";
import { kernelFileCandidates } from "./kernel-files.ts";
import { Search } from "./search.ts";
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
 * @throws {NoKernelError} if there is none; it says where one was looked for.
 */
export function findKernel(image: DiskImage, { entry: wanted }: FindKernelOptions = {}): FoundKernel {
  return image.withAllowance(ALLOWANCE, () => {
    const search = new Search(image);
    for (const entry of entries(search)) {
      if (wanted === undefined || isWanted(entry, wanted)) return { entry, lookedAt: search.lookedAt() };
    }
    const what = wanted === undefined ? undefined : `no entry "${wanted}" was found in it`;
    throw new NoKernelError(image.name, search.lookedAt(), what);
  });
}

/** All that can be booted, the default first, each kernel once per command line. */
export function listKernels(image: DiskImage): BootEntry[] {
  return image.withAllowance(ALLOWANCE, () => {
    const list = new Map<string, BootEntry>();
    for (const entry of entries(new Search(image))) {
      const { kernel, commandLine } = entry;
      const key = JSON.stringify([kernel, commandLine]);
      if (!list.has(key)) list.set(key, entry);
      if (list.size >= MAX_ENTRIES) break;
    }
    return [...list.values()];
  });
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
