/** How a VM is brought to its end, whether its monitor plays along or not. */
import type { MonitorClient } from "./client.ts";
import { ManagerError } from "./errors.ts";
import { appendEvent } from "./events.ts";
import { tryLock } from "./file-lock.ts";
import { reach } from "./reach.ts";
import { isAlive, KILLED_STATUS, type ExitRecord } from "./record.ts";
import type { Vm } from "./vm.ts";

/** A monitor needs this long at most to end, once its machine has. */
export const END_PATIENCE_MS = 10_000;
/** What a monitor that is not well gets to answer. */
export const KILL_PATIENCE_MS = 5000;

const POLL_MS = 10;

/**
 * Has `ask` ask the monitor to end the VM, and ends the monitor where that has not come about after `patience` ms. `state`: the
 * state directory. Throws a ManagerError.
 */
export async function endVm(
  vm: Vm,
  state: string,
  patience: number,
  ask: (client: MonitorClient) => Promise<unknown>,
): Promise<ExitRecord> {
  const end = performance.now() + patience;
  let client: MonitorClient | undefined;
  try {
    client = await reach(vm, Math.min(patience, KILL_PATIENCE_MS));
    await ask(client);
    await within(client.closed, end - performance.now());
  } catch (error) {
    // One that cannot be talked to is ended all the same, but not one of a newer tsvm.
    if (!(error instanceof ManagerError) || error.code === "ERR_STATE_VERSION") throw error;
  } finally {
    client?.close();
  }
  const left = Math.min(end - performance.now(), END_PATIENCE_MS);
  if (await untilFree(vm, Math.max(1000, left))) {
    const { exit } = vm.standing().record;
    if (exit !== undefined) return exit;
  }
  return killMonitor(vm, state);
}

/** False if the monitor is still there after `patience` ms. */
export async function untilFree(vm: Vm, patience: number): Promise<boolean> {
  const end = performance.now() + patience;
  while (vm.isHeld) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return true;
}

async function killMonitor(vm: Vm, state: string): Promise<ExitRecord> {
  const { pid } = vm.standing();
  if (pid === 0) {
    throw new ManagerError(
      "ERR_MONITOR",
      `${vm.name}: its monitor runs in another PID namespace`,
      "end it from there",
    );
  }
  // Taken before, so that nobody takes it for a loss. One that hangs in its start holds it as well.
  let lock = tryLock(vm.commandLockPath);
  try {
    if (pid !== undefined) killProcess(pid);
    if (!(await untilFree(vm, END_PATIENCE_MS))) {
      throw new ManagerError("ERR_MONITOR", `${vm.name}: process ${pid}, its monitor, cannot be killed`);
    }
    lock ??= await vm.lock();
    const record = vm.readRecord();
    // It had ended by itself, or somebody else was quicker.
    if (!isAlive(record.state) && record.exit !== undefined) return record.exit;
    const message = "its monitor did not answer, and was killed";
    const exit: ExitRecord = { reason: "killed", status: KILLED_STATUS, message, at: Date.now() };
    vm.writeRecord({ ...record, state: "stopped", since: exit.at, stoppedByUser: true, exit });
    appendEvent(state, { vm: vm.name, event: "exit", reason: exit.reason, status: exit.status });
    return exit;
  } finally {
    lock?.release();
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}

async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const time = new Promise((resolve) => {
    timer = setTimeout(resolve, Math.max(0, ms));
  });
  await Promise.race([promise, time]);
  clearTimeout(timer);
}
