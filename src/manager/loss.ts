/** A monitor that was killed cannot say so: whoever looks first writes it down, once, where all others find it. */
import { appendFileSync } from "node:fs";
import { ManagerError } from "./errors.ts";
import { appendEvent } from "./events.ts";
import { exitText } from "./exit-text.ts";
import { tryLock } from "./file-lock.ts";
import { encodeRecord } from "./log/log-record.ts";
import { isAlive, lostExit, type ExitRecord } from "./record.ts";
import type { Vm } from "./vm.ts";

/**
 * Writes down a loss that nobody has noticed yet: into the VM's log and its state file, and as an `exit` event. `state`: the state
 * directory. False if somebody else may be doing so just now. Where nothing can be written {@link Vm.standing} tells the truth all
 * the same.
 */
export function noticeLoss(vm: Vm, state: string): boolean {
  try {
    if (vm.isHeld || !isAlive(vm.readRecord().state)) return true;
    const lock = tryLock(vm.commandLockPath);
    if (lock === undefined) return !vm.exists();
    try {
      recordLoss(vm, state);
    } finally {
      lock.release();
    }
  } catch (error) {
    if (!(error instanceof ManagerError)) throw error;
  }
  return true;
}

/** The same for who holds the VM's command lock. Throws a ManagerError where the state file cannot be read. */
export function recordLoss(vm: Vm, state: string): void {
  // In this order: a monitor says its last word before it lets go of its lock, and without ours no other one comes.
  if (vm.isHeld) return;
  const record = vm.readRecord();
  if (!isAlive(record.state)) return;
  const exit = lostExit(Date.now());
  // First: who follows the log leaves when the state file says that the VM has ended.
  appendToLog(vm, exit);
  try {
    vm.writeRecord({ ...record, state: "stopped", since: exit.at, exit });
  } catch (error) {
    if (error instanceof ManagerError) return;
    throw error;
  }
  const { reason, status, message } = exit;
  appendEvent(state, {
    vm: vm.name,
    event: "exit",
    reason,
    status,
    ...(message === undefined ? {} : { message }),
  });
}

function appendToLog(vm: Vm, exit: ExitRecord): void {
  const bytes = Buffer.from(`${exitText(exit)}\n`);
  try {
    // What the monitor wrote last may have been cut in the middle.
    appendFileSync(vm.logPath, `\n${encodeRecord({ time: exit.at, stream: "event", bytes })}`, {
      mode: 0o600,
    });
  } catch {
    // A full disk: the log is the least of it.
  }
}
