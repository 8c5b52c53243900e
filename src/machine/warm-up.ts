import { checkWorkerCount } from "../arguments.ts";
import { warmUpWorkers as warmUp } from "./worker-pool.ts";

/** Starts threads until `count` wait, so that the next machine need not wait for them: for vCPUs and for I/O by turns. */
export function warmUpWorkers(count: number): void {
  checkWorkerCount("warmUpWorkers: count", count);
  warmUp(count);
}
