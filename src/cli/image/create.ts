/** `tsvm image create`: an empty image. */
import { createImage } from "../../disk/qemu-img/create.ts";
import { ExitCode } from "../exit-codes.ts";
import { interruptible } from "./interruptible.ts";
import { newImage, type NewImageFlags, parseDiskSize } from "./options.ts";
import { withProgressBar } from "./progress-bar.ts";
import { printResult } from "./result.ts";

/** Runs the command; the result is the exit status. */
export async function imageCreateCommand(path: string, size: string, flags: NewImageFlags): Promise<number> {
  const [image, bytes] = [newImage(path, flags), parseDiskSize(size)];
  return interruptible(async (signal) => {
    await withProgressBar(signal, (control) => createImage(image, bytes, control));
    printResult(path, flags.json);
    return ExitCode.Ok;
  });
}
