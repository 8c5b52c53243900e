/** Entry point of all worker threads: takes one task at a time and runs it to its end, synchronously. */
import { parentPort } from "node:worker_threads";
import { TsvmError } from "../errors.ts";
import { runIoLoop } from "./io-loop.ts";
import { runVcpuLoop } from "./vcpu-loop.ts";
import type { WorkerError, WorkerMessage, WorkerTask } from "./plan.ts";

function run(task: WorkerTask): WorkerMessage | undefined {
  if (task.role === "io") {
    runIoLoop(task.machine, (text) => {
      parentPort!.postMessage({ type: "warning", text } satisfies WorkerMessage);
    });
    return undefined;
  }
  const stop = runVcpuLoop(task.machine, task.vcpu, () => {
    parentPort!.postMessage({ type: "running" } satisfies WorkerMessage);
  });
  return stop === undefined ? undefined : { type: "guest-stop", stop };
}

function describeError(error: unknown): WorkerError {
  if (error instanceof TsvmError) {
    return { code: error.code, message: error.message, hint: error.hint, stack: error.stack };
  }
  const stack = error instanceof Error ? error.stack : undefined;
  return {
    code: "ERR_INTERNAL",
    message: `internal error: ${error instanceof Error ? error.message : String(error)}`,
    hint: "this is a bug in tsvm: please report it with the output of --debug",
    stack,
  };
}

parentPort?.on("message", (task: WorkerTask) => {
  let message: WorkerMessage | undefined;
  try {
    message = run(task);
  } catch (error) {
    message = { type: "failed", error: describeError(error) };
  }
  if (message !== undefined) parentPort!.postMessage(message);
  parentPort!.postMessage({ type: "finished" } satisfies WorkerMessage);
});
