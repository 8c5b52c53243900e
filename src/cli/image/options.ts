/** Option values of `tsvm image`. Each parser throws a UsageError. */
import { extname } from "node:path";
import type { NewImage, Preallocation } from "../../disk/qemu-img/create.ts";
import type { ImageFormat } from "../../disk/plan.ts";
import { UsageError } from "../errors.ts";
import { parseSize } from "../values.ts";

/** What commander hands over for an image that is to be made; it has checked the choices. */
export interface NewImageFlags {
  readonly format?: ImageFormat;
  readonly clusterSize?: string;
  readonly preallocation?: Preallocation;
  readonly force?: boolean;
  readonly json?: boolean;
}

const SECTOR = 512;
const LEAST_CLUSTER = 512;
const MOST_CLUSTER = 2 * 2 ** 20;

export function newImage(path: string, flags: NewImageFlags): NewImage {
  const format = flags.format ?? formatByName(path);
  if (format === "raw") {
    if (flags.clusterSize !== undefined) throw onlyQcow2("--cluster-size");
    if (flags.preallocation === "metadata") throw onlyQcow2("--preallocation metadata");
  }
  return {
    path,
    format,
    clusterSize: parseClusterSize(flags.clusterSize),
    preallocation: flags.preallocation,
    replace: flags.force === true,
  };
}

/** What an image of this name is made as. Throws where the name speaks of another format. */
function formatByName(path: string): ImageFormat {
  const ending = endingOf(path);
  if (RAW_ENDING.test(ending)) return "raw";
  if (ending === "" || QCOW2_ENDING.test(ending)) return "qcow2";
  throw new UsageError(
    `${path}: tsvm makes raw and qcow2 images, and ${ending} says neither`,
    "say which one it is to be: --format qcow2, or --format raw",
  );
}

/** An overlay is qcow2: what to tell whoever calls it otherwise. Throws for names that speak of other formats. */
export function overlayNameNote(path: string): string | undefined {
  const ending = endingOf(path);
  if (ending === "" || QCOW2_ENDING.test(ending)) return undefined;
  if (RAW_ENDING.test(ending)) return `${path}: an overlay is a qcow2 image, whatever its name says`;
  throw new UsageError(
    `${path}: an overlay is a qcow2 image, and ${ending} says something else`,
    "call it .qcow2, or say that it is meant so: --format qcow2",
  );
}

const RAW_ENDING = /^\.(?:raw|img)$/i;
const QCOW2_ENDING = /^\.qcow2$/i;

/** `.vmdk`; that of `debian-12.5` is none, as it has no letters. */
function endingOf(path: string): string {
  const ending = extname(path);
  return /[a-z]/i.test(ending) ? ending : "";
}

export function onlyQcow2(option: string): UsageError {
  return new UsageError(`${option} is for qcow2 images`, "leave it out, or say --format qcow2");
}

/** Bytes. */
export function parseClusterSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseSize("--cluster-size", text);
  const power = Number.isInteger(Math.log2(bytes));
  if (power && bytes >= LEAST_CLUSTER && bytes <= MOST_CLUSTER) return bytes;
  throw new UsageError(`--cluster-size: "${text}" is not a power of two from 512B to 2M`);
}

/** Size of a disk: bytes, in whole sectors. */
export function parseDiskSize(text: string): number {
  const bytes = wholeSectors(parseSize("size", text));
  if (bytes === 0) throw new UsageError(`size: a disk of "${text}" has no room for anything`);
  return bytes;
}

/** `20G`, `+5G`, `-5G`: the new size in bytes, given the old one. */
export function parseNewSize(text: string): (old: number) => number {
  const sign = /^[+-]/.exec(text)?.[0];
  const bytes = sign === undefined ? parseDiskSize(text) : parseSize("size", text.slice(1));
  return (old) => (sign === undefined ? bytes : wholeSectors(sign === "+" ? old + bytes : old - bytes));
}

function wholeSectors(bytes: number): number {
  const rounded = Math.ceil(bytes / SECTOR) * SECTOR;
  if (Number.isSafeInteger(rounded)) return rounded;
  throw new UsageError(`size: ${bytes} bytes are more than any disk has`);
}
