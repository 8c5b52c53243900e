/** Option values of `tsvm image`. Each parser throws a UsageError. */
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
  const format = flags.format ?? (/\.(raw|img)$/i.test(path) ? "raw" : "qcow2");
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
