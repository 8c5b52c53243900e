/** `tsvm image ls`: partitions and directories. */
import { existsSync } from "node:fs";
import { withDiskImage } from "../../disk/boot-entry/image-kernel.ts";
import { describeContent, type DiskImage } from "../../disk/filesystem/disk-image.ts";
import { parseImageReference } from "../../disk/filesystem/image-reference.ts";
import { listDirectory } from "../../disk/filesystem/read.ts";
import { print } from "../output.ts";
import { listingLine } from "./listing-line.ts";
import { printable, toJson, warn } from "./text.ts";

/** Without a path and a partition: the partitions. */
export function imageLsCommand(
  reference: string,
  path: string | undefined,
  { json }: { json?: boolean },
): void {
  const { path: file, partition } = parseImageReference(reference, existsSync);
  withDiskImage(file, (image) => {
    if (path === undefined && partition === undefined && !isFilesystem(image)) {
      listVolumes(image, json === true);
      return;
    }
    const fs = image.filesystem(partition);
    warn(fs.warnings);
    const list = [...listDirectory(fs, path ?? "/")].sort((a, b) => (a.name < b.name ? -1 : 1));
    if (json === true) print(toJson(list));
    else for (const entry of list) print(`${listingLine(entry)}\n`);
  });
}

/** Whether all of the disk is one file system, or was. */
function isFilesystem({ table, volumes }: DiskImage): boolean {
  return table.scheme === "none" && ["filesystem", "damaged"].includes(volumes[0]!.content.kind);
}

function listVolumes(image: DiskImage, json: boolean): void {
  warn(image.table.warnings);
  const volumes = image.volumes.map(({ partition, content }) => ({
    partition: partition?.number ?? null,
    size: partition?.size ?? null,
    type: partition?.typeName ?? null,
    uuid: partition?.uuid ?? null,
    content: describeContent(content),
  }));
  if (json) {
    print(toJson({ scheme: image.table.scheme, volumes }));
    return;
  }
  for (const { partition, size, type, content } of volumes) {
    if (partition === null) {
      const blank = content === "empty" ? "empty: no file system" : content;
      const table = image.table.scheme === "none" ? ", no partition table" : "";
      print(`whole disk: ${printable(blank)}${table}\n`);
      continue;
    }
    const place = `${partition}`.padStart(3);
    print(`${place}  ${partitionSize(size).padStart(9)}  ${printable(`${type ?? ""}: ${content}`)}\n`);
  }
}

function partitionSize(bytes: number | null): string {
  if (bytes === null) return "";
  const GIB = 2 ** 30;
  return bytes >= GIB ? `${(bytes / GIB).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
