/** How far qemu-img has come. */
import { stat } from "node:fs/promises";

/** Called with a fraction between 0 and 1. */
export type OnProgress = (fraction: number) => void;

/** Reads what `qemu-img -p` prints: `    (12.50/100%)\r`, again and again, in pieces of any size. */
export class ProgressReader {
  #tail = "";

  /** The last fraction in what has come so far; undefined if `text` brought none. */
  read(text: string): number | undefined {
    const all = this.#tail + text;
    const last = [...all.matchAll(/\((\d{1,3}(?:\.\d+)?)\/100%\)/g)].at(-1);
    this.#tail = all.slice(last === undefined ? 0 : last.index + last[0].length).slice(-32);
    return last === undefined ? undefined : Math.min(Number(last[1]) / 100, 1);
  }
}

const LOOK_EVERY_MS = 200;

/**
 * For what has no progress of its own: how much of the `bytes` that are to be allocated to the file `path` are.
 * The result stops it.
 */
export async function watchAllocation(
  path: string,
  bytes: number,
  onProgress: OnProgress,
): Promise<() => void> {
  const start = await allocated(path);
  let stopped = false;
  const look = async (): Promise<void> => {
    const now = await allocated(path);
    if (!stopped) onProgress(Math.min(Math.max(now - start, 0) / bytes, 1));
  };
  const timer = setInterval(() => void look(), LOOK_EVERY_MS);
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}

/** Bytes on the host; 0 where there is no such file. */
async function allocated(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * 512;
  } catch {
    return 0;
  }
}
