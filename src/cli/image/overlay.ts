/** `tsvm image overlay`: an image that holds what differs from another. */
import type { ImageFormat } from "../../disk/plan.ts";
import { createOverlay } from "../../disk/qemu-img/overlay.ts";
import { ExitCode } from "../exit-codes.ts";
import { interruptible } from "./interruptible.ts";
import { overlayNameNote, parseClusterSize, parseDiskSize } from "./options.ts";
import { printResult } from "./result.ts";
import { warn } from "./text.ts";

interface OverlayFlags {
  /** To say that an overlay under another name is meant. */
  readonly format?: "qcow2";
  readonly baseFormat?: ImageFormat;
  readonly clusterSize?: string;
  readonly shrink?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** Runs the command; the result is the exit status. */
export async function imageOverlayCommand(
  base: string,
  path: string,
  size: string | undefined,
  { format, baseFormat, clusterSize, shrink, force = false, json }: OverlayFlags,
): Promise<number> {
  const overlay = {
    path,
    base,
    baseFormat,
    size: size === undefined ? undefined : parseDiskSize(size),
    shrink,
    clusterSize: parseClusterSize(clusterSize),
    replace: force,
  };
  const note = format === undefined ? overlayNameNote(path) : undefined;
  return interruptible(async (signal) => {
    await createOverlay(overlay, { signal });
    if (note !== undefined) warn([note]);
    printResult(path, json);
    return ExitCode.Ok;
  });
}
