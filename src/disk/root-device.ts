import { closeSync, openSync, readSync } from "node:fs";
import { HEAD_SIZE, identifyFile, type FileKind } from "../boot/file-kind.ts";
import { DiskError } from "./errors.ts";

const LINUX_PARTITION = 0x83;

/** What a Linux guest calls the virtio disk that is number `index`, from 0, of a few. */
export function diskDevice(index: number): string {
  return `/dev/vd${String.fromCharCode("a".charCodeAt(0) + index)}`;
}

/**
 * Which device holds the root file system: the disk itself, which the guest calls `device`, or its one Linux partition.
 * Throws a DiskError where that is not clear.
 */
export async function rootDevice(path: string, device = diskDevice(0)): Promise<string> {
  const kind = identifyDisk(path);
  if (kind?.kind === "qcow2") return rootInContainer(path, device);
  if (kind?.kind === "mbr") {
    const linux = kind.partitions.filter(({ type }) => type === LINUX_PARTITION);
    if (linux.length === 1) return `${device}${linux[0]!.number}`;
    throw ambiguous(path, `an MBR disk with ${linux.length} Linux partitions`);
  }
  if (kind?.kind === "gpt") {
    if (kind.partitions.length === 1) return `${device}${kind.partitions[0]!}`;
    throw ambiguous(path, `a GPT disk with ${kind.partitions.length} partitions`);
  }
  return device;
}

/** The first sectors of such a file say nothing of the disk in it. */
async function rootInContainer(path: string, device: string): Promise<string> {
  const { withDiskImage } = await import("./boot-entry/image-kernel.ts");
  return withDiskImage(path, ({ table: { scheme, partitions } }) => {
    if (scheme === "none") return device;
    const linux = partitions.filter(({ type }) => scheme === "gpt" || type === LINUX_PARTITION.toString(16));
    if (linux.length === 1) return `${device}${linux[0]!.number}`;
    throw ambiguous(
      path,
      scheme === "gpt"
        ? `a GPT disk with ${linux.length} partitions`
        : `an MBR disk with ${linux.length} Linux partitions`,
    );
  });
}

/** What an image or block device holds; undefined where it cannot be read, which opening it as a disk will explain. */
function identifyDisk(path: string): FileKind | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    const head = Buffer.alloc(HEAD_SIZE);
    const length = readSync(fd, head, 0, head.length, 0);
    return identifyFile(head.subarray(0, length), length);
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}

function ambiguous(path: string, what: string): DiskError {
  return new DiskError(
    path,
    `is ${what}: which one is the root?`,
    "say it with --root, for example --root /dev/vda2",
  );
}
