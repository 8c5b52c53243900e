/** `tsvm image ls|cat|kernels`: what is in a disk image, read without mounting it. */
import { existsSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { BootEntry } from "../disk/boot-entry/boot-entry.ts";
import { findKernel, listKernels } from "../disk/boot-entry/find-kernel.ts";
import { openDiskImage, withDiskImage } from "../disk/boot-entry/image-kernel.ts";
import { describeContent, type DiskImage } from "../disk/filesystem/disk-image.ts";
import type { FileType } from "../disk/filesystem/filesystem.ts";
import { parseImageReference } from "../disk/filesystem/image-reference.ts";
import { listDirectory, readFile, type Listing } from "../disk/filesystem/read.ts";
import { outputFailure, print, standardOutput } from "./output.ts";

interface JsonFlag {
  json?: boolean;
}

/** Without a path and a partition: the partitions. */
export function imageLsCommand(reference: string, path: string | undefined, { json }: JsonFlag): void {
  const { path: file, partition } = parseImageReference(reference, existsSync);
  withDiskImage(file, (image) => {
    if (path === undefined && partition === undefined && image.table.scheme !== "none") {
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

export async function imageCatCommand(reference: string, path: string): Promise<void> {
  const { path: file, partition } = parseImageReference(reference, existsSync);
  const stdout = standardOutput();
  const { image, close } = openDiskImage(file);
  try {
    const fs = image.filesystem(partition);
    warn(fs.warnings);
    await pipeline(Readable.from(readFile(fs, path)), stdout, { end: false });
  } catch (error) {
    // A reader that has left, or a full disk, is told of at the end.
    if (outputFailure() === undefined) throw error;
  } finally {
    close();
  }
}

/** The boot menu, the default first. */
export function imageKernelsCommand(file: string, { json }: JsonFlag): void {
  const entries = withDiskImage(file, (image) => {
    // Says where it looked if there is nothing.
    findKernel(image);
    return listKernels(image);
  });
  if (json === true) print(toJson(entries));
  else for (const entry of entries) print(`${entryText(entry)}\n`);
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
    const place = partition === null ? "whole disk" : `${partition}`.padStart(3);
    print(`${place}  ${sizeText(size).padStart(9)}  ${printable(`${type ?? ""}: ${content}`)}\n`);
  }
}

const TYPE_LETTER: Record<FileType, string> = {
  file: "-",
  directory: "d",
  symlink: "l",
  "char-device": "c",
  "block-device": "b",
  fifo: "p",
  socket: "s",
};

/** As `ls -ln` prints it, the time in UTC. */
function listingLine({ name, type, mode, uid, gid, size, mtime, links, target, device }: Listing): string {
  const bytes = device === undefined ? `${size}` : `${device.major},${device.minor}`;
  const time = new Date(mtime * 1000);
  const date = Number.isNaN(time.getTime()) ? "?" : time.toISOString().slice(0, 16).replace("T", " ");
  const columns = [
    `${links}`.padStart(3),
    `${uid}`.padStart(5),
    `${gid}`.padStart(5),
    bytes.padStart(10),
    date,
  ];
  const arrow = target === undefined ? "" : ` -> ${printable(target)}`;
  return `${TYPE_LETTER[type]}${permissions(mode)} ${columns.join(" ")} ${printable(name)}${arrow}`;
}

function permissions(mode: number): string {
  const letters = [...[6, 3, 0].map((shift) => (mode >> shift) & 7)].map((bits) => [
    bits & 4 ? "r" : "-",
    bits & 2 ? "w" : "-",
    bits & 1 ? "x" : "-",
  ]);
  const special = [mode & 0o4000, mode & 0o2000, mode & 0o1000];
  return letters
    .map(([read, write, execute], index) => {
      if (special[index] === 0) return `${read}${write}${execute}`;
      const letter = index === 2 ? "t" : "s";
      return `${read}${write}${execute === "x" ? letter : letter.toUpperCase()}`;
    })
    .join("");
}

function entryText({ title, kernel, initrds, commandLine, source }: BootEntry): string {
  const place = ({ partition, path }: { partition: number | undefined; path: string }): string =>
    partition === undefined ? path : `${partition}:${path}`;
  return [
    printable(title),
    `  kernel   ${printable(place(kernel))}`,
    ...initrds.map((initrd) => `  initrd   ${printable(place(initrd))}`),
    `  options  ${printable(commandLine)}`,
    `  from     ${printable(place(source))}`,
  ].join("\n");
}

function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`tsvm: ${printable(warning)}\n`);
}

/** Names come from the image, and a terminal obeys control characters. */
function printable(text: string): string {
  return text.replaceAll(
    /[\x00-\x1f\x7f-\x9f]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

function sizeText(bytes: number | null): string {
  if (bytes === null) return "";
  const GIB = 2 ** 30;
  return bytes >= GIB ? `${(bytes / GIB).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
