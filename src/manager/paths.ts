/** Where the manager keeps things. docs/manager.md */
import { accessSync, constants, existsSync, mkdirSync, statfsSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { directoryError, ManagerError } from "./errors.ts";

export interface ManagerPaths {
  /** What is kept: definitions, states, logs. */
  readonly state: string;
  /** Control sockets. */
  readonly runtime: string;
}

/**
 * From TSVM_STATE_DIR and TSVM_RUNTIME_DIR where they are set; for root /var/lib/tsvm and /run/tsvm; else by the XDG base
 * directories. Without a usable XDG_RUNTIME_DIR the sockets lie in the state directory.
 */
export function managerPaths(
  env: NodeJS.ProcessEnv = process.env,
  uid: number = process.getuid?.() ?? -1,
): ManagerPaths {
  const { TSVM_STATE_DIR: ownState = "", TSVM_RUNTIME_DIR: ownRuntime = "" } = env;
  const state =
    ownState !== "" ? resolve(ownState) : uid === 0 ? "/var/lib/tsvm" : join(stateHome(env), "tsvm");
  return { state, runtime: ownRuntime !== "" ? resolve(ownRuntime) : runtimeDirectory(env, uid, state) };
}

function stateHome({ XDG_STATE_HOME: home = "" }: NodeJS.ProcessEnv): string {
  // The specification wants relative paths ignored.
  return isAbsolute(home) ? home : join(homedir(), ".local/state");
}

function runtimeDirectory(env: NodeJS.ProcessEnv, uid: number, state: string): string {
  // Whoever asks for a state directory of his own wants nothing elsewhere.
  const besideState = fallbackRuntime(state);
  if ((env.TSVM_STATE_DIR ?? "") !== "") return besideState;
  if (uid === 0) return "/run/tsvm";
  const { XDG_RUNTIME_DIR: directory = "" } = env;
  // After su(1) it may still be another user's.
  const usable = isAbsolute(directory) && statSync(directory, { throwIfNoEntry: false })?.uid === uid;
  return usable ? join(directory, "tsvm") : besideState;
}

/** Where sockets go when the runtime directory is gone, as it is for a VM that outlives its user's session. */
export function fallbackRuntime(state: string): string {
  return join(state, "run");
}

/** File systems in which nobody can make a directory, whatever access(2) says to root: proc and sysfs. statfs(2) */
const PSEUDO: readonly number[] = [0x9fa0, 0x6265_6572];

/** Of a path where nothing is yet: throws a ManagerError where no directory can come to be. */
export function checkCreatable(path: string): void {
  let parent = dirname(path);
  while (!existsSync(parent) && parent !== dirname(parent)) parent = dirname(parent);
  try {
    accessSync(parent, constants.W_OK | constants.X_OK);
    if (PSEUDO.includes(statfsSync(parent).type)) throw Object.assign(new Error(), { code: "EPERM" });
  } catch (error) {
    throw directoryError("cannot be made", dirname(path), error);
  }
}

/** Makes a directory that only we may look into. Throws a ManagerError. */
export function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw directoryError("cannot be made", path, error);
  }
  const { uid, mode } = statSync(path);
  if (uid !== process.getuid?.()) {
    throw new ManagerError(
      "ERR_STATE_DIRECTORY",
      `${path} belongs to another user`,
      "TSVM_STATE_DIR names another one",
    );
  }
  if ((mode & 0o022) !== 0) {
    throw new ManagerError("ERR_STATE_DIRECTORY", `${path}: others may write to it`, `chmod go-w ${path}`);
  }
}
