/** Entry point of all worker threads: takes one task at a time and runs it to its end. */
import { parentPort, workerData } from "node:worker_threads";
import { TsvmError } from "../errors.ts";
import { ControlBlock } from "./control.ts";
import { doneLoading } from "./loading-threads.ts";
import type { WorkerError, WorkerMessage, WorkerStart, WorkerTask } from "./plan.ts";

/** A thread loads what its first role needs, before it is asked, and not what only the other needs: that is memory in each. */
const loadVcpuLoop = (): Promise<typeof import("./vcpu-loop.ts")> => import("./vcpu-loop.ts");
const loadIoLoop = (): Promise<typeof import("./io/io-loop.ts")> => import("./io/io-loop.ts");
const { role: firstRole, loading } = workerData as WorkerStart;
const loaded = (): void => doneLoading(loading);
(firstRole === "io" ? loadIoLoop() : loadVcpuLoop()).then(loaded, loaded);

async function run(task: WorkerTask): Promise<WorkerMessage | undefined> {
  const { machine } = task;
  const control = new ControlBlock(machine.shared, machine.control.offset, machine.control.bytes);
  const clock = task.role === "io" ? control.ioClock : control.vcpuClock(task.vcpu.index);
  clock.start();
  try {
    if (task.role === "io") {
      const { runIoLoop } = await loadIoLoop();
      runIoLoop(machine, (text) => say({ type: "warning", text }));
      return undefined;
    }
    const { runVcpuLoop } = await loadVcpuLoop();
    const stop = await runVcpuLoop(machine, task.vcpu, {
      running: () => say({ type: "running" }),
      paused: () => say({ type: "paused" }),
      ioWanted: () => say({ type: "io-wanted" }),
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

async function perform(task: WorkerTask): Promise<void> {
  let message: WorkerMessage | undefined;
  try {
    message = await run(task);
  } catch (error) {
    message = { type: "failed", error: describeError(error) };
  }
  if (message !== undefined) say(message);
  say({ type: "finished" });
}

parentPort?.on("message", (task: WorkerTask) => void perform(task));
