/**
 * Opens an image together with all that is below it: backing files, their backing files, and so on. Only the first is ever
 * written to. Every file is locked as its use demands.
 */
import { closeSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { DiskError } from "./errors.ts";
import { ImageFile } from "./image-file.ts";
import { containerDescription, type ImageFileFacts, openImageFile, probeFormat } from "./image-path.ts";
import { lockImage } from "./lock.ts";
import type { ImageFormat, LayerPlan } from "./plan.ts";
import type { Qcow2Header } from "./qcow2/header.ts";
import { readHeader } from "./qcow2/read-header.ts";

/** More levels than this are a mistake, and slow. */
const MAX_DEPTH = 64;

export interface OpenLayer extends LayerPlan {
  /** Of a qcow2 image. */
  readonly header: Qcow2Header | undefined;
  /** Nobody has said what format it is in. */
  readonly probed: boolean;
  /** Somebody has said that it is raw, and it looks like this. */
  readonly looksLike: string | undefined;
}

export interface Chain {
  /** The image first. */
  readonly layers: readonly OpenLayer[];
  /** What the user should know, without being an error. */
  readonly warnings: readonly string[];
  /** With `partial`: why the last layer's backing file is not there. */
  readonly broken: DiskError | undefined;
}

export interface OpenChainOptions {
  /** Whether the first image is written to. */
  readonly writable: boolean;
  /** What the first image is in; otherwise its first bytes tell. */
  readonly format?: ImageFormat | undefined;
  /** False to look at images that somebody else may be writing to. */
  readonly lock?: boolean;
  /** Whether what can be opened is of use, if a backing file cannot. */
  readonly partial?: boolean;
}

/** Whoever opens a chain closes its file descriptors. Throws a DiskError or an ImageIoError. */
export function openChain(
  path: string,
  { writable, format, lock = true, partial = false }: OpenChainOptions,
): Chain {
  const layers: OpenLayer[] = [];
  const seen = new Map<string, string>();
  const warnings: string[] = [];
  try {
    let next: { path: string; format: ImageFormat | undefined } | undefined = { path, format };
    while (next !== undefined) {
      const parent = layers.at(-1);
      const above = parent?.path;
      if (layers.length === MAX_DEPTH) {
        throw new DiskError(path, `has more than ${MAX_DEPTH} backing files, one below the other`);
      }
      const layer = openLayer(next.path, next.format, above, {
        writable: writable && above === undefined,
        lock,
        seen,
      });
      layers.push(layer);
      if (layer.probed && parent !== undefined) warnings.push(probedWarning(parent, layer));
      if (layer.looksLike !== undefined && parent === undefined) {
        warnings.push(
          `${path} looks like ${layer.looksLike}, and is taken for a raw image, as its format is given`,
        );
      }
      next = layer.header === undefined ? undefined : backingOf(layer.path, layer.header);
    }
    return { layers, warnings, broken: undefined };
  } catch (error) {
    if (partial && layers.length > 0 && error instanceof DiskError)
      return { layers, warnings, broken: error };
    closeLayers(layers);
    throw error;
  }
}

export function closeLayers(layers: readonly LayerPlan[]): void {
  for (const { fd } of layers) closeSync(fd);
}

function openLayer(
  path: string,
  format: ImageFormat | undefined,
  above: string | undefined,
  { writable, lock, seen }: { writable: boolean; lock: boolean; seen: Map<string, string> },
): OpenLayer {
  const facts = openFile(path, writable, above);
  try {
    refuseLoop(facts, above, seen);
    if (lock) lockImage(path, facts.fd, writable);
    if (format === "qcow2" && probeFormat(facts) === "raw") throw notQcow2(path, above);
    const actual = format ?? probeFormat(facts);
    const header =
      actual === "qcow2"
        ? readHeader(new ImageFile({ path, fd: facts.fd, size: facts.size, growable: facts.regular }))
        : undefined;
    return {
      path,
      fd: facts.fd,
      format: actual,
      fileSize: facts.size,
      growable: facts.regular,
      directBlock: 0,
      header,
      probed: format === undefined,
      looksLike: format === "raw" ? containerDescription(facts) : undefined,
    };
  } catch (error) {
    closeSync(facts.fd);
    throw error;
  }
}

function notQcow2(path: string, above: string | undefined): DiskError {
  return above === undefined
    ? new DiskError(
        path,
        "is no qcow2 image, and its format is given as qcow2",
        "leave the format out, or give it as raw",
      )
    : new DiskError(
        path,
        `is no qcow2 image, as ${above} says that it is`,
        `if it is raw, say so: qemu-img rebase -u -b ${path} -F raw ${above}`,
      );
}

function openFile(path: string, writable: boolean, above: string | undefined): ImageFileFacts {
  try {
    return openImageFile(path, writable);
  } catch (error) {
    if (above === undefined || !(error instanceof DiskError)) throw error;
    const what = error.message.slice(`disk ${path}: `.length);
    throw new DiskError(path, `${what} (the backing file of ${above})`, error.hint, error);
  }
}

function refuseLoop(
  { path, identity }: ImageFileFacts,
  above: string | undefined,
  seen: Map<string, string>,
): void {
  const first = seen.get(identity);
  seen.set(identity, path);
  if (first === undefined) return;
  throw new DiskError(
    above ?? path,
    `its backing file ${path} is ${first} again, which is above it`,
    "give it another one: qemu-img rebase -u -b BASE -F FORMAT IMAGE",
  );
}

/** The next file of the chain. Throws a DiskError for what is not a file, and for formats that tsvm does not know. */
function backingOf(
  path: string,
  { backingFile, backingFormat }: Qcow2Header,
): { path: string; format: ImageFormat | undefined } | undefined {
  if (backingFile === undefined) return undefined;
  if (backingFormat !== undefined && backingFormat !== "raw" && backingFormat !== "qcow2") {
    throw new DiskError(
      path,
      `its backing file ${backingFile} is in format "${backingFormat}"; tsvm knows raw and qcow2`,
      "flatten it: tsvm image convert OLD NEW",
    );
  }
  const file = backingFile.startsWith("file:") ? backingFile.slice("file:".length) : backingFile;
  // As QEMU has it: a colon before any slash makes a protocol.
  if (/^[^/]*:/.test(file)) {
    throw new DiskError(
      path,
      `its backing file is ${backingFile}; tsvm knows only files and block devices`,
      "flatten it: tsvm image convert OLD NEW",
    );
  }
  return { path: isAbsolute(file) ? file : join(dirname(path), file), format: backingFormat };
}

function probedWarning(above: OpenLayer, { path, format }: OpenLayer): string {
  return (
    `${above.path} does not say in which format its backing file ${path} is; it looks like ${format}. ` +
    `Say it once and for all: qemu-img rebase -u -b ${above.header!.backingFile!} -F ${format} ${above.path}`
  );
}
