/** How this process ends: with nothing left behind, whether it is done, interrupted, or at its time limit. */
import { mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { endAll } from "./processes.mjs";

let temporary;
let state = "running";

/** A directory for what is temporary, made now. */
export function makeTemporary() {
  temporary = mkdtempSync(join(tmpdir(), "tsvm-test-bed-"));
  return temporary;
}

/** Once the machine runs: QEMU and we have the files open by then. Not even a SIGKILL leaves some behind afterwards. */
export function removeTemporary() {
  if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
  temporary = undefined;
}

/** Whether the end has begun, so that what fails now fails because of that. */
export function isLeaving() {
  return state !== "running";
}

/** Ends this process and all that it has started. Unless `flush`, output that nobody has read yet is lost. */
export async function leave(status, { flush = false } = {}) {
  if (isLeaving()) return;
  state = "ending";
  await endAll();
  removeTemporary();
  state = "flushing";
  for (const stream of flush ? [process.stdout, process.stderr] : []) {
    await new Promise((resolve) => stream.write("", resolve));
  }
  process.exit(status);
}

export function leaveOnSignals() {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      const status = 128 + constants.signals[signal];
      if (state === "flushing") process.exit(status);
      void leave(status);
    });
  }
  // Nobody reads any more.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", () => void leave(128 + constants.signals.SIGPIPE));
  }
}
