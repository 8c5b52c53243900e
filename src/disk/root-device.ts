import { identifyPath } from "../boot/file-kind.ts";
import { DiskError } from "./errors.ts";

const LINUX_PARTITION = 0x83;

/**
 * Which device of the first disk (/dev/vda) holds the root file system: the disk itself, or its one Linux partition.
 * Throws a DiskError where that is not clear.
 */
export function rootDevice(path: string): string {
  const kind = identifyPath(path);
  if (kind.kind === "mbr") {
    const linux = kind.partitions.flatMap(({ type }, index) => (type === LINUX_PARTITION ? [index + 1] : []));
    if (linux.length === 1) return `/dev/vda${linux[0]}`;
    throw ambiguous(path, `an MBR disk with ${linux.length} Linux partitions`);
  }
  if (kind.kind === "gpt") {
    if (kind.partitions === 1) return "/dev/vda1";
    throw ambiguous(path, `a GPT disk with ${kind.partitions} partitions`);
  }
  return "/dev/vda";
}

function ambiguous(path: string, what: string): DiskError {
  return new DiskError(
    path,
    `is ${what}: which one is the root?`,
    "say it with --root, for example --root /dev/vda2",
  );
}
