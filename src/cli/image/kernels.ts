/** `tsvm image kernels`: what an image can boot. */
import type { BootEntry } from "../../disk/boot-entry/boot-entry.ts";
import { findKernel, listKernels } from "../../disk/boot-entry/find-kernel.ts";
import { withDiskImage } from "../../disk/boot-entry/image-kernel.ts";
import { print } from "../output.ts";
import { printable, toJson } from "./text.ts";

/** The boot menu, the default first. */
export function imageKernelsCommand(file: string, { json }: { json?: boolean }): void {
  const entries = withDiskImage(file, (image) => {
    // Says where it looked if there is nothing.
    findKernel(image);
    return listKernels(image);
  });
  if (json === true) print(toJson(entries));
  else for (const entry of entries) print(`${entryText(entry)}\n`);
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
