/** What was found in an image that can be booted: plain data. */

/** A file in an image, or a section of one. */
export interface ImageFile {
  /** Number of the partition; undefined: the disk has none. */
  readonly partition: number | undefined;
  /** From the root of that partition's file system. */
  readonly path: string;
  /** Of what is to be read, in bytes. */
  readonly size: number;
  /** Where that begins in the file: not 0 for a part of a unified kernel image. */
  readonly offset: number;
}

export type BootSourceKind = "grub" | "loader-entry" | "unified-kernel-image" | "syslinux" | "kernel-file";

/** What says so: a configuration file, or the kernel itself. */
export interface BootSource {
  readonly kind: BootSourceKind;
  readonly partition: number | undefined;
  readonly path: string;
}

export interface BootEntry {
  /** As a boot menu shows it. */
  readonly title: string;
  /** What the boot loader calls it, if anything. */
  readonly id: string | undefined;
  readonly source: BootSource;
  readonly kernel: ImageFile;
  /** To be loaded one after the other, as one. */
  readonly initrds: readonly ImageFile[];
  /** As the configuration has it; with a `root=` of ours where it has none and needs one. */
  readonly commandLine: string;
  /** Where the root file system is; undefined if it is not on this image, or cannot be told. */
  readonly root: RootLocation | undefined;
  /** What may surprise: a file that is missing, a root device that this machine will not have. */
  readonly notes: readonly string[];
}

export interface RootLocation {
  /** Number of the partition; undefined: the whole disk. */
  readonly partition: number | undefined;
  /** PARTUUID, where there is one. */
  readonly partitionUuid: string | undefined;
  /** UUID of its file system, if tsvm can read that. */
  readonly filesystemUuid: string | undefined;
}

/** One volume that was searched, and what came of it. */
export interface LookedAt {
  /** `disk.img:2`. */
  readonly volume: string;
  /** `Linux, ext4, label "root"`. */
  readonly description: string;
  /** Such as `/boot/grub/grub.cfg: entry "Debian": /vmlinuz: no such file`. */
  readonly findings: readonly string[];
}
