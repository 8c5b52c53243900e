/**
 * What happens to VMs, one JSON object a line, in one file of the state directory that commands and monitors append to. Bounded:
 * when it is large it becomes events.jsonl.1, in the place of the one before.
 */
import { appendFileSync, closeSync, openSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { tryLock } from "./file-lock.ts";

export type EventName =
  | "define"
  | "start"
  | "running"
  | "paused"
  | "resumed"
  | "stopping"
  /** The machine has ended, whatever comes next; with `reason` and `status`. */
  | "exit"
  | "restarting"
  | "remove";

export interface VmEvent {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly vm: string;
  readonly event: EventName;
  /** With `exit`. */
  readonly reason?: string;
  readonly status?: number;
  readonly message?: string;
}

const LARGEST_BYTES = 1 << 20;

export function eventsPath(state: string): string {
  return join(state, "events.jsonl");
}

/** Of no effect where it cannot be written: events tell of what happens, they do not prevent it. */
export function appendEvent(state: string, event: Omit<VmEvent, "time">): void {
  const path = eventsPath(state);
  try {
    rotate(path);
    // One write, which the kernel appends as a whole.
    appendFileSync(path, `${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`, {
      mode: 0o600,
    });
  } catch {
    // A full or read-only disk.
  }
}

function rotate(path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) < LARGEST_BYTES) return;
  const lockPath = `${path}.lock`;
  closeSync(openSync(lockPath, "a", 0o600));
  const lock = tryLock(lockPath);
  // Whoever holds it does it.
  if (lock === undefined) return;
  try {
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) >= LARGEST_BYTES)
      renameSync(path, `${path}.1`);
  } finally {
    lock.release();
  }
}
