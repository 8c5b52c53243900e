/** The files a machine's kernel is loaded from, opened. */
import type { InitrdSource } from "../boot/load-kernel.ts";
import { openBootFile, type BootFile } from "../boot/read-at.ts";
import { close } from "../ffi/libc.ts";
import type { ResolvedMachine } from "./resolve.ts";

export interface BootFiles {
  readonly kernel: BootFile;
  readonly initrd: InitrdSource | undefined;
  close(): void;
}

/**
 * Opens kernel and initrd; those that lie in the first disk are copied out of it, so call this before the disk is locked for the
 * guest. Leaves nothing open where it throws.
 */
export function openBootFiles({ kernel: source, initrd: wanted }: ResolvedMachine): BootFiles {
  const files: BootFile[] = [];
  const closeAll = (): void => {
    for (const { fd } of files.splice(0)) close(fd);
  };
  const opened = (file: BootFile): BootFile => {
    files.push(file);
    return file;
  };
  try {
    const found =
      typeof source === "string" ? { kernel: openBootFile(source), initrd: undefined } : source.extract();
    const kernel = opened(found.kernel);
    let initrd: InitrdSource | undefined = found.initrd === undefined ? undefined : opened(found.initrd);
    if (wanted instanceof Uint8Array) initrd = { bytes: wanted };
    else if (wanted !== undefined) initrd = opened(openBootFile(wanted));
    return { kernel, initrd, close: closeAll };
  } catch (error) {
    closeAll();
    throw error;
  }
}
