/**
 * Entry point of a background VM's own process: monitor.cjs STATE_DIRECTORY RUNTIME_DIRECTORY NAME. launch.ts starts it, is told
 * on fd 3, in one line, what the start came to, and shares the VM's command lock with it until then (fd 4).
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { _exit } from "../../ffi/libc.ts";
import { warmUpWorkers } from "../../machine/worker-pool.ts";
import { version } from "../../version.ts";
import { directoryError, ManagerError } from "../errors.ts";
import { isSameFile, lockForLife } from "../file-lock.ts";
import { vsockPath } from "../guest-access.ts";
import type { LaunchReport } from "../launch.ts";
import { LogWriter } from "../log/log-writer.ts";
import { fallbackRuntime, type ManagerPaths } from "../paths.ts";
import { PROTOCOL } from "../protocol.ts";
import { VmStore } from "../store.ts";
import type { Vm } from "../vm.ts";
import { errorBody } from "./connection.ts";
import { ConsoleHub } from "./console-hub.ts";
import { ControlServer } from "./control-server.ts";
import { Monitor } from "./monitor.ts";
import { Requests } from "./requests.ts";

const REPORT_FD = 3;
const COMMAND_LOCK_FD = 4;

const [state = "", runtime = "", name = ""] = process.argv.slice(2);
// Whatever it makes is for its user alone.
process.umask(0o077);
// A thread takes longer to come up than all that is done here before it is needed.
warmUpWorkers(1);
void main({ state, runtime });

async function main(paths: ManagerPaths): Promise<void> {
  try {
    await run(paths);
  } catch (error) {
    report({ error: errorBody(error) });
  }
  _exit(0);
}

async function run(paths: ManagerPaths): Promise<void> {
  const vm = new VmStore(paths).get(name);
  takeLock(vm);
  const { definition, definedAt, id } = vm.readDefinition();
  refuseNewerRecord(vm);
  const log = new LogWriter(vm.logPath);
  const hub = new ConsoleHub();
  const monitor = new Monitor({
    vm,
    state: paths.state,
    definition,
    definedAt,
    vsockPath: vsockPath(paths.state, id),
    log,
    console: hub,
  });
  const hello = { tsvm: { protocol: PROTOCOL, version: version(), name, pid: process.pid } };
  const server = new ControlServer(hello, new Requests(monitor, hub));
  const listen = async (): Promise<void> => {
    monitor.listensOn(await server.listen([paths.runtime, fallbackRuntime(paths.state)], id));
  };
  // Before anyone knows of the socket: a signal for which nobody listens ends a process.
  connectSignals(monitor, listen);
  await listen();
  process.on("uncaughtException", (error) => {
    // Nothing is known any more, but that the guest must not go on unwatched.
    process.stderr.write(`${error.stack ?? error.message}\n`);
    log.event(`internal error: ${error.message}`);
    monitor.fail(error);
    void log.close().finally(() => _exit(1));
  });
  try {
    await monitor.run(({ warnings }) => report({ warnings }));
  } finally {
    await Promise.all([server.close(), log.close()]);
  }
}

/** Until this process ends, whatever way. */
function takeLock(vm: Vm): void {
  let fd: number;
  try {
    fd = openSync(vm.monitorLockPath, "r+");
  } catch (error) {
    throw directoryError("cannot be opened", vm.monitorLockPath, error);
  }
  const free = lockForLife(fd, vm.monitorLockPath);
  // Somebody else has started or removed it meanwhile.
  if (!free || !isSameFile(fd, vm.monitorLockPath)) {
    throw new ManagerError("ERR_VM_RUNNING", `${vm.name} is running already, or is being removed`);
  }
}

function refuseNewerRecord(vm: Vm): void {
  try {
    vm.readRecord();
  } catch (error) {
    // A damaged one only lacks what was before.
    if (!(error instanceof ManagerError && error.code === "ERR_STATE_DAMAGED")) throw error;
  }
}

function connectSignals(monitor: Monitor, listen: () => Promise<void>): void {
  // The host goes down.
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => monitor.stop({ force: false, byUser: false }));
  }
  // "Your socket is gone": with its user's session goes the directory that it was in.
  process.on("SIGHUP", () => {
    listen().catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
  });
}

let reported = false;

function report(what: LaunchReport): void {
  if (reported) return;
  reported = true;
  try {
    // First, so that whoever hears of it finds the lock free.
    closeSync(COMMAND_LOCK_FD);
    writeSync(REPORT_FD, `${JSON.stringify(what)}\n`);
    closeSync(REPORT_FD);
  } catch {
    // Whoever started us has not waited.
  }
}
