import { closeSync, openSync, readSync } from "node:fs";
import { HEAD_SIZE, identifyFile, type FileKind } from "../boot/file-kind.ts";
import { DiskError } from "./errors.ts";

const LINUX_PARTITION = 0x83;

/**
 * Which device of the first disk (/dev/vda) holds the root file system: the disk itself, or its one Linux partition.
 * Throws a DiskError where that is not clear.
 */
export async function rootDevice(path: string): Promise<string> {
  const kind = identifyDisk(path);
  if (kind?.kind === "qcow2") return rootInContainer(path);
  if (kind?.kind === "mbr") {
    const linux = kind.partitions.filter(({ type }) => type === LINUX_PARTITION);
    if (linux.length === 1) return `/dev/vda${linux[0]!.number}`;
    throw ambiguous(path, `an MBR disk with ${linux.length} Linux partitions`);
  }
  if (kind?.kind === "gpt") {
    if (kind.partitions.length === 1) return `/dev/vda${kind.partitions[0]!}`;
    throw ambiguous(path, `a GPT disk with ${kind.partitions.length} partitions`);
  }
  return "/dev/vda";
}

/** The first sectors of such a file say nothing of the disk in it. */
async function rootInContainer(path: string): Promise<string> {
  const { withDiskImage } = await import("./boot-entry/image-kernel.ts");
  return withDiskImage(path, ({ table: { scheme, partitions } }) => {
    if (scheme === "none") return "/dev/vda";
    const linux = partitions.filter(({ type }) => scheme === "gpt" || type === LINUX_PARTITION.toString(16));
    if (linux.length === 1) return `/dev/vda${linux[0]!.number}`;
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
