import { formatBytes } from "../../boot/quantities.ts";
import { imageInfo } from "../../disk/info.ts";
import { print } from "../output.ts";
import { printable, toJson } from "./text.ts";

/** After an image was made or changed: what it is now, in one line or as JSON. */
export function printResult(path: string, json: boolean | undefined): void {
  const result = imageInfo(path);
  if (json === true) {
    print(toJson(result));
    return;
  }
  const { format, virtualSize, diskUsage, qcow2 } = result.image;
  const parts = [format, formatBytes(virtualSize)];
  if (diskUsage !== undefined) parts.push(`${formatBytes(diskUsage)} on disk`);
  if (qcow2?.backingFile !== undefined) parts.push(`over ${qcow2.backingFile} (${qcow2.backingFormat})`);
  print(printable(`${path}: ${parts.join(", ")}`) + "\n");
}
