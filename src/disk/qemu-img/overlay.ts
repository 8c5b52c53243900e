/** qcow2 images that hold what differs from another image. */
import { realpathSync } from "node:fs";
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import { formatBytesExactly } from "../../boot/quantities.ts";
import { type Chain, closeLayers, openChain } from "../chain.ts";
import { DiskError } from "../errors.ts";
import { makeFile } from "../new-file.ts";
import type { ImageFormat } from "../plan.ts";
import { formatOptions } from "./create.ts";
import { backingArgument, fileArgument } from "./file-name.ts";
import { type Control, runQemuImg } from "./run.ts";

export interface Overlay {
  readonly path: string;
  readonly base: string;
  /** Of the base; otherwise its first bytes tell. */
  readonly baseFormat?: ImageFormat | undefined;
  /** Bytes; that of the base by default. */
  readonly size?: number | undefined;
  /** Whether the size may be smaller than that of the base, whose end the guest then does not see. */
  readonly shrink?: boolean | undefined;
  /** Bytes. */
  readonly clusterSize?: number | undefined;
  /** Whether it may replace a file. */
  readonly replace: boolean;
}

/**
 * An empty image over `base`, whose format it states. The base is locked against writers meanwhile.
 * Throws a DiskError, and a QemuImgMissingError.
 */
export async function createOverlay(overlay: Overlay, { signal }: Control): Promise<void> {
  const { path, base, baseFormat, replace } = overlay;
  const chain = openChain(base, { writable: false, format: baseFormat });
  try {
    const size = sizeOver(chain, overlay);
    const sources = chain.layers.map((layer) => layer.path);
    await makeFile(path, { replace, sources, signal }, async (temporary) => {
      const args = [
        ...["create", "-q", "-f", "qcow2"],
        ...["-b", backingArgument(backingPath(base, temporary)), "-F", chain.layers[0]!.format],
        ...formatOptions(overlay),
        ...[fileArgument(temporary), `${size}`],
      ];
      await runQemuImg({ path, temporary }, args, { signal });
    });
  } finally {
    closeLayers(chain.layers);
  }
}

function sizeOver({ layers }: Chain, { path, base, size, shrink = false }: Overlay): number {
  const { header, fileSize } = layers[0]!;
  const baseSize = header?.size ?? fileSize;
  if (size !== undefined && size < baseSize && !shrink) {
    throw new DiskError(
      path,
      `${formatBytesExactly(size)} are less than the ${formatBytesExactly(baseSize)} of ${base}, whose end the guest would not see`,
      "--shrink does it nevertheless",
    );
  }
  return size ?? baseSize;
}

/**
 * What an overlay calls its base: absolute if the user did so, otherwise relative to where the overlay is, for pairs that
 * move together. (qemu-img takes a relative name as it is, whatever the working directory.)
 */
export function backingPath(base: string, overlay: string): string {
  if (isAbsolute(base)) return base;
  // Directories by their true names: `..` leads out of those.
  const directory = realpathSync(dirname(base));
  return relative(realpathSync(dirname(overlay)), join(directory, basename(base)));
}
