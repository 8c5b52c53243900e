/** FAT12, FAT16 and FAT32, read-only: EFI system partitions, and the boot partitions of small systems. */
import { viewAt, type BlockReader } from "../../source/block-reader.ts";
import { FilesystemError } from "../errors.ts";
import type { DirectoryEntry, FileNode, FileSystem, Piece } from "../filesystem.ts";
import { readGeometry, type FatGeometry } from "./boot-sector.ts";
import { fatEntries, volumeLabels, type FatEntry } from "./directory.ts";

const PIECE_SIZE = 1024 * 1024;
/** 65536 entries of 32 bytes: the specification's limit. */
const MAX_DIRECTORY_SIZE = 2 * 1024 * 1024;

export function isFat(reader: BlockReader): boolean {
  return readGeometry(reader) !== undefined;
}

/** @throws {FilesystemError} if it is damaged. */
export function openFat(reader: BlockReader): FileSystem {
  const geometry = readGeometry(reader);
  if (geometry === undefined) throw new FilesystemError(reader.name, "is no FAT file system");
  const volume: FatVolume = { reader, geometry };
  const root = new FatNode(volume, undefined);
  const [label] = volumeLabels(root.chunks());
  return {
    type: "vfat",
    name: reader.name,
    label: label ?? geometry.label,
    uuid: geometry.uuid,
    warnings: [],
    root,
  };
}

interface FatVolume {
  readonly reader: BlockReader;
  readonly geometry: FatGeometry;
}

/** Consecutive clusters, as a range of bytes of the disk. */
interface Run {
  readonly offset: number;
  readonly length: number;
}

class FatNode implements FileNode {
  readonly type: "file" | "directory";
  readonly mode: number;
  readonly uid = 0;
  readonly gid = 0;
  readonly size: number;
  readonly mtime: number;
  readonly links = 1;
  readonly inode: number;
  readonly #volume: FatVolume;
  /** Undefined: the root. */
  readonly #entry: FatEntry | undefined;

  constructor(volume: FatVolume, entry: FatEntry | undefined) {
    this.#volume = volume;
    this.#entry = entry;
    this.type = entry === undefined || entry.directory ? "directory" : "file";
    this.mode = entry?.readOnly === true ? 0o555 : 0o755;
    this.size = this.type === "directory" ? 0 : entry!.size;
    this.mtime = entry?.mtime ?? 0;
    this.inode = entry?.offset ?? 1;
  }

  *entries(): Generator<DirectoryEntry> {
    for (const entry of fatEntries(this.chunks())) {
      yield { name: entry.name, node: () => new FatNode(this.#volume, entry) };
    }
  }

  /** Upper and lower case are the same; the name of 8 + 3 characters will do as well. */
  lookup(name: string): FileNode | undefined {
    const wanted = name.toLowerCase();
    for (const entry of fatEntries(this.chunks())) {
      if (entry.name.toLowerCase() === wanted || entry.shortName.toLowerCase() === wanted) {
        return new FatNode(this.#volume, entry);
      }
    }
    return undefined;
  }

  *content(start = 0, end = this.size): Generator<Piece> {
    const stop = Math.min(end, this.size);
    if (start >= stop) return;
    const { reader } = this.#volume;
    let runStart = 0;
    for (const run of clusterRuns(this.#volume, this.#entry!.cluster, this.size)) {
      const runEnd = Math.min(stop, runStart + run.length);
      for (let offset = Math.max(start, runStart); offset < runEnd;) {
        const length = Math.min(PIECE_SIZE, runEnd - offset);
        yield { offset, bytes: reader.bytes(run.offset + (offset - runStart), length) };
        offset += length;
      }
      runStart += run.length;
      if (runStart >= stop) return;
    }
    throw new FilesystemError(reader.name, `damaged: ${this.#entry!.name} is shorter than its size says`);
  }

  target(): string {
    throw new FilesystemError(this.#volume.reader.name, "FAT has no symbolic links");
  }

  /** Of a directory: its content, a cluster or less at a time. */
  *chunks(): Generator<{ bytes: Uint8Array; offset: number }> {
    const { reader, geometry } = this.#volume;
    const runs =
      this.#entry === undefined && geometry.bits !== 32
        ? [{ offset: geometry.rootOffset, length: geometry.rootSize }]
        : clusterRuns(this.#volume, this.#entry?.cluster ?? geometry.rootCluster, undefined);
    let total = 0;
    for (const { offset, length } of runs) {
      for (let done = 0; done < length;) {
        const size = Math.min(geometry.clusterSize, length - done);
        total += size;
        if (total > MAX_DIRECTORY_SIZE) {
          throw new FilesystemError(reader.name, "damaged: a directory has no end");
        }
        yield { bytes: reader.bytes(offset + done, size), offset: offset + done };
        done += size;
      }
    }
  }
}

/**
 * The chain of clusters from `first`, up to its end or until it has `size` bytes.
 * @throws {FilesystemError} if it leads nowhere or in a circle.
 */
function* clusterRuns(volume: FatVolume, first: number, size: number | undefined): Generator<Run> {
  const { reader, geometry } = volume;
  const { clusterSize, clusters, dataOffset } = geometry;
  let left = size === undefined ? clusters : Math.ceil(size / clusterSize);
  let run: { first: number; count: number } | undefined;
  const finish = ({ first, count }: { first: number; count: number }): Run => ({
    offset: dataOffset + (first - 2) * clusterSize,
    length: count * clusterSize,
  });
  for (let cluster = first; cluster !== END_OF_CHAIN; cluster = nextCluster(volume, cluster)) {
    if (cluster < 2 || cluster >= clusters + 2) {
      throw new FilesystemError(reader.name, `damaged: a chain of clusters leads to cluster ${cluster}`);
    }
    if (left-- <= 0) {
      // A file needs no more; a directory that has more clusters than there are goes in a circle.
      if (size !== undefined) break;
      throw new FilesystemError(reader.name, "damaged: a chain of clusters goes in a circle");
    }
    if (run !== undefined && run.first + run.count === cluster) {
      run.count++;
      // Runs that are long enough to be read in one go need not grow, nor the chain be followed before its bytes are wanted.
      if (run.count * clusterSize < PIECE_SIZE) continue;
      yield finish(run);
      run = undefined;
      continue;
    }
    if (run !== undefined) yield finish(run);
    run = { first: cluster, count: 1 };
  }
  if (run !== undefined) yield finish(run);
}

const END_OF_CHAIN = -1;

function nextCluster({ reader, geometry }: FatVolume, cluster: number): number {
  const { bits, fatOffset } = geometry;
  let next: number;
  if (bits === 12) {
    const word = viewAt(reader, fatOffset + Math.floor((cluster * 3) / 2), 2).getUint16(0, true);
    next = cluster % 2 === 0 ? word & 0xfff : word >> 4;
  } else if (bits === 16) {
    next = viewAt(reader, fatOffset + cluster * 2, 2).getUint16(0, true);
  } else {
    next = viewAt(reader, fatOffset + cluster * 4, 4).getUint32(0, true) & 0x0fff_ffff;
  }
  // The last eight numbers of each width end a chain.
  return next >= 2 ** Math.min(bits, 28) - 8 ? END_OF_CHAIN : next;
}
