/**
 * Threads for vCPUs and devices. Starting one costs about as much as booting a small VM needs otherwise, so threads of machines
 * that have ended wait for the next one, and a program may warm up some before it needs them.
 */
import { Worker } from "node:worker_threads";
import type { WorkerMessage, WorkerTask } from "./plan.ts";

const idle: Worker[] = [];
/** An idle thread holds some 9 MB: keep what a few small machines need. */
const MAX_IDLE = 4;

/** Where the built worker lies: beside the bundle, or in dist/ when run from the sources by tests. */
const ENTRY = new URL(
  import.meta.url.endsWith(".ts") ? "../../dist/worker.cjs" : "./worker.cjs",
  import.meta.url,
);

/** Starts `count` threads now, so that the next machine need not wait for them. */
export function warmUpWorkers(count: number): void {
  while (idle.length < count) idle.push(startWorker());
}

/** Ends all idle threads. */
export async function releaseIdleWorkers(): Promise<void> {
  await Promise.all(idle.splice(0).map((worker) => worker.terminate()));
}

/** A task that a thread is working on. */
export interface TaskHandle {
  /** Ends the thread wherever it is, but for a system call, which must end first. */
  terminate(): void;
}

/** Gives `task` to a thread. `onMessage` hears what it says, `onExit` is called if the thread dies on the way. */
export function runTask(
  task: WorkerTask,
  onMessage: (message: WorkerMessage) => void,
  onExit: (error: Error) => void,
): TaskHandle {
  const worker = idle.pop() ?? startWorker();
  const onWorkerMessage = (message: WorkerMessage): void => {
    if (message.type === "finished") {
      release();
      if (idle.length < MAX_IDLE) idle.push(worker);
      else void worker.terminate();
    }
    onMessage(message);
  };
  const died = (error: Error): void => {
    release();
    onExit(error);
  };
  const exited = (code: number): void => died(new Error(`worker thread ended with code ${code}`));
  // One by one: removing all listeners of a Worker would take Node's own with them.
  const release = (): void => {
    worker.off("message", onWorkerMessage).off("error", died).off("exit", exited);
  };
  worker.on("message", onWorkerMessage).on("error", died).on("exit", exited);
  // Whether a program waits for a machine is not for its threads to decide; each listener for messages decides anew.
  worker.unref();
  worker.postMessage(task);
  return { terminate: () => void worker.terminate() };
}

function startWorker(): Worker {
  const worker = new Worker(ENTRY, { stdin: false, stdout: false, stderr: false, trackUnmanagedFds: false });
  worker.unref();
  // While it is idle nobody else listens. One that cannot start is gone from the list below; the next task then hears why.
  worker.on("error", () => undefined);
  worker.once("exit", () => {
    const at = idle.indexOf(worker);
    if (at !== -1) idle.splice(at, 1);
  });
  return worker;
}
