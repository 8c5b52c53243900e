/** One VM in the state directory: its files, who holds it, and where it stands. */
import { closeSync, openSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ManagerError, directoryError } from "./errors.ts";
import { lockHolder, tryLock, type HeldLock } from "./file-lock.ts";
import { overwriteJson, readJson, syncDirectory, writeJson } from "./json-file.ts";
import {
  isAlive,
  isStoredDefinition,
  isVmRecord,
  lostExit,
  type StoredDefinition,
  type VmRecord,
} from "./record.ts";

/** How long a command waits for another one that is at work on the same VM, a start for example. */
const LOCK_PATIENCE_MS = 30_000;
const LOCK_INTERVAL_MS = 20;

const NEVER_STARTED: VmRecord = { state: "defined", since: 0, restarts: 0, stoppedByUser: false };

export interface Standing {
  readonly record: VmRecord;
  /** Of its monitor; 0 where the process cannot be named, undefined where there is none. */
  readonly pid: number | undefined;
}

export class Vm {
  readonly name: string;
  readonly directory: string;

  constructor(name: string, directory: string) {
    this.name = name;
    this.directory = directory;
  }

  /** What commands that change something hold meanwhile. */
  get commandLockPath(): string {
    return join(this.directory, "lock");
  }

  /** What the monitor holds for its life. */
  get monitorLockPath(): string {
    return join(this.directory, "monitor.lock");
  }

  /** What a monitor says that dies before it can say it properly. */
  get monitorOutputPath(): string {
    return join(this.directory, "monitor.err");
  }

  get logPath(): string {
    return join(this.directory, "log.jsonl");
  }

  get #definitionPath(): string {
    return join(this.directory, "definition.json");
  }

  get #recordPath(): string {
    return join(this.directory, "state.json");
  }

  /** Throws a ManagerError where it is damaged, of a newer version, or not there any more. */
  readDefinition(): StoredDefinition {
    const stored = readJson<StoredDefinition>(this.#definitionPath, isStoredDefinition);
    if (stored === undefined) {
      throw new ManagerError(
        "ERR_STATE_DAMAGED",
        `${this.#definitionPath}: missing`,
        `remove what is left of the VM: tsvm rm --force ${this.name}`,
      );
    }
    return stored;
  }

  writeDefinition(stored: StoredDefinition): void {
    writeJson(this.#definitionPath, stored);
  }

  /** As the file says. Throws a ManagerError where it is damaged or of a newer version. */
  readRecord(): VmRecord {
    return readJson<VmRecord>(this.#recordPath, isVmRecord) ?? NEVER_STARTED;
  }

  /** On a full disk the old file is written over. */
  writeRecord(record: VmRecord): void {
    try {
      writeJson(this.#recordPath, record);
    } catch (error) {
      try {
        overwriteJson(this.#recordPath, record);
      } catch {
        throw error;
      }
    }
  }

  /**
   * What is true, by what the file says and by whether a monitor lives: a VM that is said to run without one was lost.
   */
  standing(): Standing {
    let pid = lockHolder(this.monitorLockPath);
    let record = this.readRecord();
    if (pid === undefined && isAlive(record.state)) {
      // Its monitor may have come between the two looks, or it has gone: it says its last word before it lets go of the lock.
      pid = lockHolder(this.monitorLockPath);
      if (pid === undefined) record = lost(this.readRecord());
    }
    return { record, pid };
  }

  /** Whether there is a monitor. */
  get isHeld(): boolean {
    return lockHolder(this.monitorLockPath) !== undefined;
  }

  /** Where a command, which may have been killed by now, is at work on it without a monitor yet: waits for what comes of it. */
  async untilStarted(patience = LOCK_PATIENCE_MS): Promise<void> {
    const end = performance.now() + patience;
    while (!this.isHeld && lockHolder(this.commandLockPath) !== undefined && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, LOCK_INTERVAL_MS));
    }
  }

  /** Waits for the VM's command lock. Throws a ManagerError if another command keeps it too long, or the VM has been removed. */
  async lock(patience = LOCK_PATIENCE_MS): Promise<HeldLock> {
    const end = performance.now() + patience;
    for (;;) {
      const lock = tryLock(this.commandLockPath);
      if (lock !== undefined) return lock;
      if (!this.exists()) throw new ManagerError("ERR_NO_VM", `the VM ${this.name} has just been removed`);
      if (performance.now() > end) {
        throw new ManagerError(
          "ERR_VM_BUSY",
          `another tsvm has been at work on ${this.name} for ${patience / 1000} s`,
          this.isHeld ? `if it hangs: tsvm kill ${this.name}` : "wait for it, or end it",
        );
      }
      await new Promise((resolve) => setTimeout(resolve, LOCK_INTERVAL_MS));
    }
  }

  exists(): boolean {
    try {
      closeSync(openSync(this.commandLockPath, "r"));
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR") return false;
      throw directoryError("cannot be read", this.commandLockPath, error);
    }
  }

  /** Removes all of it. The caller holds the command lock; `parent` is the directory of VMs. */
  remove(parent: string): void {
    // A monitor that is just starting finds its lock taken, or its file gone.
    const monitorLock = tryLock(this.monitorLockPath);
    if (monitorLock === undefined && this.isHeld) {
      throw new ManagerError(
        "ERR_VM_RUNNING",
        `${this.name} is running`,
        `stop it first: tsvm stop ${this.name}`,
      );
    }
    try {
      const doomed = join(parent, `.gone-${Date.now()}-${process.pid}-${this.name}`);
      renameSync(this.directory, doomed);
      syncDirectory(parent);
      rmSync(doomed, { recursive: true, force: true });
    } catch (error) {
      throw directoryError("cannot be removed", this.directory, error);
    } finally {
      monitorLock?.release();
    }
  }
}

/** What the state file of a VM comes to whose monitor is no more. */
function lost(record: VmRecord): VmRecord {
  if (!isAlive(record.state)) return record;
  const exit = lostExit(Date.now());
  return { ...record, state: "stopped", since: exit.at, exit };
}
