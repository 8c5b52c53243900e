/** `tsvm image convert`: from any format to raw or qcow2. */
import { convertImage } from "../../disk/qemu-img/create.ts";
import { UsageError } from "../errors.ts";
import { ExitCode } from "../exit-codes.ts";
import { interruptible } from "./interruptible.ts";
import { newImage, type NewImageFlags, onlyQcow2 } from "./options.ts";
import { withProgressBar } from "./progress-bar.ts";
import { printResult } from "./result.ts";

interface ConvertFlags extends NewImageFlags {
  readonly from?: string;
  readonly compression?: "zlib" | "zstd";
}

/** Runs the command; the result is the exit status. */
export async function imageConvertCommand(
  source: string,
  path: string,
  flags: ConvertFlags,
): Promise<number> {
  const image = newImage(path, flags);
  const { compression, preallocation, from: sourceFormat } = flags;
  if (compression !== undefined) {
    if (image.format === "raw") throw onlyQcow2("--compression");
    if (preallocation !== undefined && preallocation !== "off") {
      throw new UsageError("--compression and --preallocation exclude each other", "give only one of them");
    }
  }
  return interruptible(async (signal) => {
    await withProgressBar(signal, (control) =>
      convertImage(image, { source, sourceFormat, compression }, control),
    );
    printResult(path, flags.json);
    return ExitCode.Ok;
  });
}
