/** Entry point of all worker threads: takes one task at a time and runs it to its end, synchronously. */
import { parentPort } from "node:worker_threads";
import { TsvmError } from "../errors.ts";
import { ControlBlock } from "./control.ts";
import { runIoLoop } from "./io-loop.ts";
import { runVcpuLoop } from "./vcpu-loop.ts";
import type { WorkerError, WorkerMessage, WorkerTask } from "./plan.ts";

function run(task: WorkerTask): WorkerMessage | undefined {
  const { machine } = task;
  const control = new ControlBlock(machine.shared, machine.control.offset, machine.control.bytes);
  const clock = task.role === "io" ? control.ioClock : control.vcpuClock(task.vcpu.index);
  clock.start();
  try {
    if (task.role === "io") {
      runIoLoop(machine);
      return undefined;
    }
    const stop = runVcpuLoop(machine, task.vcpu, {
      running: () => say({ type: "running" }),
      paused: () => say({ type: "paused" }),
    });
    return stop === undefined ? undefined : { type: "guest-stop", stop };
  } finally {
    clock.end();
  }
}

function say(message: WorkerMessage): void {
  parentPort!.postMessage(message);
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
  if (message !== undefined) say(message);
  say({ type: "finished" });
});
