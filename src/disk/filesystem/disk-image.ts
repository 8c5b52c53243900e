/** A disk image as its partitions and their file systems. */
import { readPartitions } from "../partitions/read-partitions.ts";
import { isExtended } from "../partitions/mbr.ts";
import type { Partition, PartitionTable } from "../partitions/partition.ts";
import { ImageReader, PartReader, type BlockReader } from "../source/block-reader.ts";
import type { BlockSource } from "../source/block-source.ts";
import { FilesystemError } from "./errors.ts";
import type { FileSystem } from "./filesystem.ts";
import { isIso9660 } from "./iso9660/iso9660.ts";
import { openFilesystem } from "./open-filesystem.ts";
import { isBlank, recognize } from "./signatures.ts";

/** A partition, or a disk that has none. */
export interface Volume {
  /** What errors call it: `disk.img:2`, or `disk.img` for all of it. */
  readonly name: string;
  /** Undefined: the whole disk. */
  readonly partition: Partition | undefined;
  readonly content: VolumeContent;
}

export type VolumeContent =
  | { readonly kind: "filesystem"; readonly filesystem: FileSystem }
  /** Something that is known, but not read: `XFS`, `encrypted (LUKS)`. */
  | { readonly kind: "unreadable"; readonly description: string }
  /** A file system that tsvm reads, but not this one. */
  | { readonly kind: "damaged"; readonly error: FilesystemError }
  | { readonly kind: "empty" | "unknown" | "extended" };

/** Reads lazily: a partition is looked at when its content is asked for. */
export class DiskImage {
  readonly name: string;
  readonly table: PartitionTable;
  readonly volumes: readonly Volume[];
  readonly #reader: ImageReader;

  /**
   * @param name What errors call the image: its path, most likely.
   * @throws {FilesystemError} if the partition table is damaged.
   */
  constructor(name: string, source: BlockSource) {
    this.name = name;
    const reader = new ImageReader(name, source);
    this.#reader = reader;
    const table = readPartitions(reader);
    this.table = table;
    const partitions = table.partitions.map((partition) => {
      const partName = `${name}:${partition.number}`;
      return new LazyVolume(partition, new PartReader(partName, reader, partition.start, partition.size));
    });
    // CD images that also start from USB sticks have a partition table inside the file system.
    const whole = new LazyVolume(undefined, reader);
    const wholeIsFilesystem = table.scheme === "none" || isIso9660(reader);
    this.volumes = wholeIsFilesystem ? [whole, ...partitions] : partitions;
  }

  /**
   * The volume with this partition number; without one, the whole disk or the only partition that can be read.
   * @throws {FilesystemError} if there is none, or it is not clear which.
   */
  volume(number?: number): Volume {
    if (number !== undefined) {
      const volume = this.volumes.find(({ partition }) => partition?.number === number);
      if (volume !== undefined) return volume;
      throw new FilesystemError(this.name, `there is no partition ${number}`, this.#partitionHint());
    }
    const whole = this.volumes.find(({ partition }) => partition === undefined);
    if (whole !== undefined) return whole;
    const readable = this.volumes.filter(({ content }) => content.kind === "filesystem");
    if (readable.length === 1) return readable[0]!;
    throw new FilesystemError(
      this.name,
      readable.length === 0 ? "has no partition that can be read" : "has several partitions: which one?",
      this.#partitionHint(),
    );
  }

  /** Like {@link volume}, and its file system. @throws {FilesystemError} saying what is there instead. */
  filesystem(number?: number): FileSystem {
    const { name, partition, content } = this.volume(number);
    if (content.kind === "filesystem") return content.filesystem;
    if (content.kind === "damaged") throw content.error;
    if (content.kind === "empty" || content.kind === "unknown") {
      const table = partition === undefined ? "no partition table and " : "";
      const known = content.kind === "empty" ? "there are only zeros" : "none that tsvm knows";
      throw new FilesystemError(name, `has ${table}no file system: ${known}`);
    }
    throw new FilesystemError(name, `cannot be read: ${describeContent(content)}`);
  }

  /** Runs `action`, in which reading more than `bytes` of the image, cached or not, is a FilesystemError. */
  withAllowance<T>(bytes: number, action: () => T): T {
    return this.#reader.withAllowance(bytes, action);
  }

  #partitionHint(): string {
    const list = this.volumes
      .filter(({ partition }) => partition !== undefined)
      .map(({ partition, content }) => `${partition!.number} (${describeContent(content)})`);
    return list.length === 0
      ? "the image has no partitions: leave the number out"
      : `say which: ${this.name}:NUMBER. There are ${list.join(", ")}`;
  }
}

/** For people: `ext4, label "root"`. */
export function describeContent(content: VolumeContent): string {
  switch (content.kind) {
    case "filesystem": {
      const { type, label } = content.filesystem;
      return label === undefined ? type : `${type}, label "${label}"`;
    }
    case "unreadable":
      return `${content.description}, which tsvm cannot read`;
    case "damaged":
      return "damaged";
    case "empty":
      return "empty";
    case "extended":
      return "extended partition";
    case "unknown":
      return "no known file system";
  }
}

class LazyVolume implements Volume {
  readonly name: string;
  readonly partition: Partition | undefined;
  readonly #reader: BlockReader;
  #content: VolumeContent | undefined;

  constructor(partition: Partition | undefined, reader: BlockReader) {
    this.name = reader.name;
    this.partition = partition;
    this.#reader = reader;
  }

  get content(): VolumeContent {
    this.#content ??= this.#look();
    return this.#content;
  }

  #look(): VolumeContent {
    if (this.partition !== undefined && isExtended(this.partition)) return { kind: "extended" };
    try {
      const filesystem = openFilesystem(this.#reader);
      if (filesystem !== undefined) return { kind: "filesystem", filesystem };
      const description = recognize(this.#reader);
      if (description !== undefined) return { kind: "unreadable", description };
      return { kind: isBlank(this.#reader) ? "empty" : "unknown" };
    } catch (error) {
      if (error instanceof FilesystemError) return { kind: "damaged", error };
      throw error;
    }
  }
}
