/** What partition tables of all kinds come down to. */

export interface Partition {
  /** From 1, as in /dev/vda1; logical partitions of an MBR from 5. */
  readonly number: number;
  /** Bytes from the beginning of the disk. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  /** A GUID, or the type byte of an MBR as two hexadecimal digits. */
  readonly type: string;
  /** For people: `Linux`, `EFI system`. */
  readonly typeName: string;
  /** PARTUUID, as blkid prints it. */
  readonly uuid: string | undefined;
  /** PARTLABEL; GPT only. */
  readonly label: string | undefined;
  /** Marked for the boot loader of a BIOS. */
  readonly bootable: boolean;
}

export interface PartitionTable {
  /** `none`: the whole disk is one file system, or nothing. */
  readonly scheme: "gpt" | "mbr" | "none";
  readonly partitions: readonly Partition[];
  /** What is odd about the table but does not keep it from being read. */
  readonly warnings: readonly string[];
}
