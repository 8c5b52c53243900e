/** Starts a VM's monitor: a process of its own session, which survives everything that happens to the one that starts it. */
import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { fcntl } from "../ffi/libc.ts";
import { directoryError, ManagerError, RemoteError } from "./errors.ts";
import type { HeldLock } from "./file-lock.ts";
import type { ManagerPaths } from "./paths.ts";
import type { ErrorBody } from "./protocol.ts";
import type { Vm } from "./vm.ts";

/** What a monitor says of its start. */
export type LaunchReport = { readonly warnings: readonly string[] } | { readonly error: ErrorBody };

/** Beside the bundle, or in dist/ when run from the sources by tests. */
const ENTRY = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "../../dist/monitor.cjs" : "./monitor.cjs", import.meta.url),
);
/** A monitor mostly waits: it may be slow at tidying up, but is to be small. docs/performance.md */
const NODE_FLAGS = ["--max-semi-space-size=1", "--v8-pool-size=1"];
const SMALL = { UV_THREADPOOL_SIZE: "1", MALLOC_ARENA_MAX: "1" };
const F_GETFD = 1;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const LAST_WORDS = 2000;

/**
 * Resolves when the machine runs, with what is odd about it. Throws a ManagerError or what the monitor has thrown. `lock`: the VM's
 * command lock. The monitor holds it as well until its start has come to something, so that a start whose command is killed
 * half-way is still one that others wait for.
 */
export async function launch(
  vm: Vm,
  { state, runtime }: ManagerPaths,
  lock: HeldLock,
): Promise<readonly string[]> {
  keepDescriptorsHere();
  let output: number;
  try {
    output = openSync(vm.monitorOutputPath, "w", 0o600);
  } catch (error) {
    throw directoryError("cannot be written", vm.monitorOutputPath, error);
  }
  let child;
  try {
    child = spawn(process.execPath, [...NODE_FLAGS, ENTRY, state, runtime, vm.name], {
      detached: true,
      cwd: "/",
      stdio: ["ignore", output, output, "pipe", lock.fd],
      env: monitorEnvironment(),
    });
  } finally {
    closeSync(output);
  }
  const started = new Promise<never>((_, reject) => child.once("error", reject));
  child.unref();
  const channel = child.stdio[3] as Readable;
  const line = await Promise.race([readAll(channel), started]).catch((error: unknown) => {
    throw new ManagerError("ERR_MONITOR", `${vm.name}: its monitor cannot be started`, String(error), error);
  });
  return interpret(vm, line);
}

function interpret(vm: Vm, line: string): readonly string[] {
  if (line.endsWith("\n")) {
    const report = JSON.parse(line) as LaunchReport;
    if ("warnings" in report) return report.warnings;
    throw new RemoteError(report.error);
  }
  const words = readFileSync(vm.monitorOutputPath, "utf8").trim().slice(-LAST_WORDS);
  throw new ManagerError(
    "ERR_MONITOR",
    `${vm.name}: its monitor ended before the machine ran`,
    words === "" ? "it was killed: is there enough memory?" : words,
  );
}

async function readAll(stream: Readable): Promise<string> {
  let text = "";
  stream.setEncoding("utf8");
  for await (const chunk of stream) text += chunk as string;
  return text;
}

function monitorEnvironment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, ...SMALL };
  // Meant for the command: two processes cannot listen for one debugger.
  delete env.NODE_OPTIONS;
  delete env.NODE_V8_COVERAGE;
  return env;
}

/** What was handed down to us by a shell (a lock that a script holds, say) is not for a process that outlives it. */
function keepDescriptorsHere(): void {
  for (const name of readdirSync("/proc/self/fd")) {
    const fd = Number(name);
    const flags = fcntl(fd, F_GETFD, 0);
    if (fd > 2 && flags >= 0) fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
  }
}
