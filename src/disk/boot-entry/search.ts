/** The image as the readers of boot configurations see it: files by volume and path, and notes of what was found. */
import { ImagePathError } from "../filesystem/errors.ts";
import { TsvmError } from "../../errors.ts";
import { describeContent, type DiskImage, type Volume } from "../filesystem/disk-image.ts";
import type { FileNode, FileSystem } from "../filesystem/filesystem.ts";
import { lookupPath } from "../filesystem/path.ts";
import { readText } from "../filesystem/read.ts";
import type { LookedAt } from "./boot-entry.ts";

/** A volume whose files can be read. */
export interface ReadableVolume {
  readonly volume: Volume;
  readonly fs: FileSystem;
  /** Undefined: the whole disk. */
  readonly partition: number | undefined;
}

/** What is needed of a {@link DiskImage}. */
export type SearchableImage = Pick<DiskImage, "name" | "table" | "volumes" | "withAllowance">;

/** What a configuration file may have. GRUB's, with many kernels, have some tens of KiB. */
const MAX_CONFIG_SIZE = 2 * 1024 * 1024;
/** Of a directory that is looked through. */
const MAX_NAMES = 100_000;
/** A hostile image could have no end of entries with something wrong. */
const MAX_FINDINGS = 30;

export class Search {
  readonly image: SearchableImage;
  readonly volumes: readonly ReadableVolume[];
  readonly #findings = new Map<Volume, string[]>();

  constructor(image: SearchableImage) {
    this.image = image;
    this.volumes = image.volumes.flatMap((volume) =>
      volume.content.kind === "filesystem"
        ? [{ volume, fs: volume.content.filesystem, partition: volume.partition?.number }]
        : [],
    );
    for (const { volume, fs } of this.volumes) for (const warning of fs.warnings) this.#add(volume, warning);
  }

  /** Notes what came of looking at something. */
  found({ volume }: ReadableVolume, finding: string): void {
    this.#add(volume, finding);
  }

  #add(volume: Volume, finding: string): void {
    const findings = this.#findings.get(volume) ?? [];
    this.#findings.set(volume, findings);
    if (findings.length < MAX_FINDINGS && !findings.includes(finding)) findings.push(finding);
  }

  /** A file or directory, or undefined. Damage is noted. */
  node(place: ReadableVolume, path: string): FileNode | undefined {
    return this.#noted(place, path, () => lookupPath(place.fs, path));
  }

  /** Like {@link node}, but a symbolic link itself: its target may be on another volume, or make sense in the guest only. */
  entry(place: ReadableVolume, path: string): FileNode | undefined {
    return this.#noted(place, path, () => lookupPath(place.fs, path, { follow: false }));
  }

  /** A configuration file, or undefined if there is none. Damage is noted. */
  text(place: ReadableVolume, path: string): string | undefined {
    return this.#noted(place, path, () => {
      try {
        return readText(place.fs, path, MAX_CONFIG_SIZE);
      } catch (error) {
        if (error instanceof ImagePathError && error.problem !== "too-large") return undefined;
        throw error;
      }
    });
  }

  /** The names in a directory, in alphabetical order; none if there is no such directory. */
  names(place: ReadableVolume, path: string): string[] {
    const names = this.#noted(place, path, () => {
      const list: string[] = [];
      const directory = lookupPath(place.fs, path);
      if (directory?.type !== "directory") return list;
      for (const { name } of directory.entries()) {
        list.push(name);
        if (list.length >= MAX_NAMES) break;
      }
      return list.sort();
    });
    return names ?? [];
  }

  #noted<T>(place: ReadableVolume, path: string, action: () => T): T | undefined {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof TsvmError)) throw error;
      this.found(place, `${path}: ${error.message.replace(`${place.volume.name}: `, "")}`);
      return undefined;
    }
  }

  /** All volumes, those that cannot be read too, with what came of them. */
  lookedAt(): LookedAt[] {
    return this.image.volumes.map((volume) => {
      const { name, partition, content } = volume;
      const kind = partition === undefined ? "the whole disk" : partition.typeName;
      const findings = this.#findings.get(volume) ?? [];
      if (content.kind === "damaged") findings.push(content.error.message.replace(`${name}: `, ""));
      if (content.kind === "filesystem" && findings.length === 0)
        findings.push("no boot configuration, no kernel");
      return { volume: name, description: `${kind}, ${describeContent(content)}`, findings };
    });
  }
}
