/** `tsvm image resize`: larger, or, if it must be, smaller. */
import type { ImageFormat } from "../../disk/plan.ts";
import type { Preallocation } from "../../disk/qemu-img/create.ts";
import { resizeImage } from "../../disk/qemu-img/resize.ts";
import { ExitCode } from "../exit-codes.ts";
import { interruptible } from "./interruptible.ts";
import { parseNewSize } from "./options.ts";
import { withProgressBar } from "./progress-bar.ts";
import { printResult } from "./result.ts";

interface ResizeFlags {
  readonly format?: ImageFormat;
  readonly shrink?: boolean;
  readonly preallocation?: Preallocation;
  readonly json?: boolean;
}

/** Runs the command; the result is the exit status. */
export async function imageResizeCommand(
  path: string,
  text: string,
  { format, shrink = false, preallocation = "off", json }: ResizeFlags,
): Promise<number> {
  const resize = { path, format, size: parseNewSize(text), shrink, preallocation };
  return interruptible(
    async (signal) => {
      await withProgressBar(signal, (control) => resizeImage(resize, control));
      printResult(path, json);
      return ExitCode.Ok;
    },
    { finish: preallocation === "off" },
  );
}
