import type { Control } from "../../disk/qemu-img/run.ts";

/** Runs `work` with a progress bar on stderr, if that is a terminal; it is gone when the work is. */
export async function withProgressBar<T>(
  signal: AbortSignal,
  work: (control: Control) => Promise<T>,
): Promise<T> {
  if (!process.stderr.isTTY) return work({ signal });
  const { default: cliProgress } = await import("cli-progress");
  const bar = new cliProgress.SingleBar(
    {
      format: "{bar} {percentage} %, {eta_formatted} left",
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      stopOnComplete: false,
      fps: 5,
    },
    cliProgress.Presets.shades_classic,
  );
  const STEPS = 100;
  let started = false;
  const onProgress = (fraction: number): void => {
    if (started) bar.update(Math.floor(fraction * STEPS));
    else bar.start(STEPS, Math.floor(fraction * STEPS));
    started = true;
  };
  try {
    return await work({ signal, onProgress });
  } finally {
    if (started) bar.stop();
  }
}
