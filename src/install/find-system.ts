/** Which partition of an image holds the system, and what starts its services. */
import { withDiskImage } from "../disk/boot-entry/image-kernel.ts";
import { DiskError } from "../disk/errors.ts";
import { describeContent, type Volume } from "../disk/filesystem/disk-image.ts";
import { ImagePathError } from "../disk/filesystem/errors.ts";
import type { FileSystem } from "../disk/filesystem/filesystem.ts";
import { statPath } from "../disk/filesystem/read.ts";
import type { ImageFormat } from "../disk/plan.ts";

/** By what it is known, the best first. */
const INITS: readonly (readonly [name: string, ...paths: string[]])[] = [
  ["systemd", "/usr/lib/systemd/systemd", "/lib/systemd/systemd"],
  ["OpenRC", "/sbin/openrc", "/usr/sbin/openrc"],
  ["runit", "/sbin/runit-init", "/usr/bin/runit-init"],
  ["an inittab", "/etc/inittab"],
];

/** File systems of the bundled kernel that can be written to. */
const WRITABLE = ["ext2", "ext3", "ext4"];

/** The number of the partition, or undefined where the whole disk is one file system. Throws a DiskError, or what reading throws. */
export function findSystem(
  path: string,
  { partition, format }: { partition?: number | undefined; format?: ImageFormat | undefined } = {},
): number | undefined {
  return withDiskImage(
    path,
    (image) => {
      const volumes = partition === undefined ? image.volumes : [image.volume(partition)];
      const systems = volumes
        .map((volume) => ({ volume, init: initOf(volume) }))
        .filter(({ init }) => init !== undefined);
      const withSystemd = systems.filter(({ init }) => init === "systemd");
      if (withSystemd.length > 1) {
        const numbers = withSystemd.map(({ volume }) => volume.partition?.number ?? 0).join(", ");
        throw new DiskError(path, `has systems on the partitions ${numbers}`, `say which: ${path}:NUMBER`);
      }
      const [found] = withSystemd;
      if (found !== undefined) return found.volume.partition?.number;
      if (systems.length > 0) {
        throw new DiskError(
          path,
          `its services are started by ${systems[0]!.init!}, for which there are no files of the agent`,
          "copy images/agent of tsvm into the guest, and have it started there: docs/agent.md",
        );
      }
      const seen = volumes.map(({ content }) => describeContent(content)).join("; ");
      throw new DiskError(
        path,
        `there is no system with systemd on it that can be changed (${seen})`,
        `the file system must be one of ${WRITABLE.join(", ")}`,
      );
    },
    format,
  );
}

function initOf({ content }: Volume): string | undefined {
  if (content.kind !== "filesystem" || !WRITABLE.includes(content.filesystem.type)) return undefined;
  const { filesystem } = content;
  return INITS.find(([, ...paths]) => paths.some((path) => exists(filesystem, path)))?.[0];
}

function exists(fs: FileSystem, path: string): boolean {
  try {
    statPath(fs, path);
    return true;
  } catch (error) {
    if (error instanceof ImagePathError) return false;
    throw error;
  }
}
