/** Finds the monitor of a VM, wherever its socket is by now. */
import { MonitorClient } from "./client.ts";
import { ManagerError } from "./errors.ts";
import { isAlive } from "./record.ts";
import type { Vm } from "./vm.ts";

const PATIENCE_MS = 10_000;
const INTERVAL_MS = 20;
/** A new socket takes the monitor a few ms. */
const NEXT_SIGNAL_MS = 1000;

/** Throws a ManagerError: the VM is not running, or its monitor cannot be reached. */
export async function reach(vm: Vm, patience = PATIENCE_MS): Promise<MonitorClient> {
  const end = performance.now() + patience;
  let nextSignal = 0;
  let failure: unknown;
  for (;;) {
    const { record, pid } = vm.standing();
    if (pid === undefined) throw notRunning(vm.name);
    // One that is just starting has no socket yet; the one in the file is that of its last life.
    if (record.socket !== undefined && isAlive(record.state)) {
      try {
        return await MonitorClient.connect(vm.name, record.socket, Math.max(1, end - performance.now()));
      } catch (error) {
        failure = error;
        if (!isNobody(error)) throw asManagerError(vm.name, record.socket, error);
        const now = performance.now();
        if (now >= nextSignal) {
          nextSignal = now + NEXT_SIGNAL_MS;
          askForNewSocket(pid);
        }
      }
    }
    if (performance.now() > end) {
      throw new ManagerError(
        "ERR_MONITOR",
        `${vm.name}: its monitor (process ${pid}) cannot be reached`,
        `tsvm kill ${vm.name} ends it`,
        failure,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

export function notRunning(name: string): ManagerError {
  return new ManagerError("ERR_VM_NOT_RUNNING", `${name} is not running`, `tsvm start ${name} starts it`);
}

/** The socket's directory may have gone with its user's session: the monitor then makes another one. */
function askForNewSocket(pid: number): void {
  try {
    if (pid > 0) process.kill(pid, "SIGHUP");
  } catch {
    // It has ended meanwhile.
  }
}

function isNobody(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ECONNREFUSED" || code === "ECONNRESET";
}

function asManagerError(name: string, path: string, error: unknown): Error {
  if (error instanceof ManagerError) return error;
  const { code } = error as NodeJS.ErrnoException;
  return new ManagerError(
    "ERR_MONITOR",
    `${name}: cannot connect to ${path}: ${code ?? String(error)}`,
    undefined,
    error,
  );
}
