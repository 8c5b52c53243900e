/**
 * Threads for vCPUs and devices. Starting one costs about as much as booting a small VM needs otherwise, so threads of machines
 * that have ended wait for the next one, and a program may warm up some before it needs them.
 */
import { Worker } from "node:worker_threads";
import { expectLoading } from "./loading-threads.ts";
import type { WorkerMessage, WorkerRole, WorkerStart, WorkerTask } from "./plan.ts";

interface IdleWorker {
  readonly worker: Worker;
  /** Whose code it has loaded. */
  readonly role: WorkerRole;
}

const idle: IdleWorker[] = [];
/** An idle thread holds some 9 MB: keep what a few small machines need, */
const KEPT = 4;
/** and for a while what a program needs that starts many, one after the other. */
const KEPT_FOR_A_WHILE = 16;
const WHILE_MS = 5000;
let trimTimer: NodeJS.Timeout | undefined;

/** Where the built worker lies: beside the bundle, or in dist/ when run from the sources by tests. */
const ENTRY = new URL(
  import.meta.url.endsWith(".ts") ? "../../dist/worker.cjs" : "./worker.cjs",
  import.meta.url,
);

/** Starts threads until `count` wait, so that the next machine need not wait for them: for vCPUs and for I/O by turns. */
export function warmUpWorkers(count: number): void {
  while (idle.length < count) {
    const role = idle.length % 2 === 0 ? "vcpu" : "io";
    idle.push({ worker: startWorker(role), role });
  }
}

/** Ends all idle threads. */
export async function releaseIdleWorkers(): Promise<void> {
  await Promise.all(idle.splice(0).map(({ worker }) => worker.terminate()));
}

/** One with the right code; one with the other loads that late, which is still sooner than a new thread. */
function takeIdle(role: WorkerRole): IdleWorker | undefined {
  const at = idle.findLastIndex((candidate) => candidate.role === role);
  return at === -1 ? idle.pop() : idle.splice(at, 1)[0];
}

function giveBack(worker: IdleWorker): void {
  idle.push(worker);
  trim(KEPT_FOR_A_WHILE);
  clearTimeout(trimTimer);
  if (idle.length > KEPT) trimTimer = setTimeout(() => trim(KEPT), WHILE_MS).unref();
}

function trim(kept: number): void {
  while (idle.length > kept) void idle.shift()!.worker.terminate();
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
  const { worker, role } = takeIdle(task.role) ?? { worker: startWorker(task.role), role: task.role };
  const onWorkerMessage = (message: WorkerMessage): void => {
    if (message.type === "finished") {
      release();
      giveBack({ worker, role });
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

function startWorker(role: WorkerRole): Worker {
  const { word, forget } = expectLoading();
  const worker = new Worker(ENTRY, {
    workerData: { role, loading: word } satisfies WorkerStart,
    stdin: false,
    stdout: false,
    stderr: false,
    trackUnmanagedFds: false,
  });
  worker.unref();
  // While it is idle nobody else listens. One that cannot start is gone from the list below; the next task then hears why.
  worker.on("error", () => undefined);
  worker.once("exit", () => {
    forget();
    const at = idle.findIndex((candidate) => candidate.worker === worker);
    if (at !== -1) idle.splice(at, 1);
  });
  return worker;
}
