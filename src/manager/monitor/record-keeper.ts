/** Writes down where a VM stands and what happens to it: in its state file, its log, the events of all VMs, and for its viewers. */
import { appendEvent, type VmEvent } from "../events.ts";
import type { LogWriter } from "../log/log-writer.ts";
import { exitText } from "../exit-text.ts";
import type { ExitRecord, VmRecord, VmState } from "../record.ts";
import type { Vm } from "../vm.ts";
import type { ConsoleHub } from "./console-hub.ts";

export interface RecordPlaces {
  readonly vm: Vm;
  /** The state directory. */
  readonly state: string;
  readonly log: LogWriter;
  readonly console: ConsoleHub;
}

export class RecordKeeper {
  readonly #places: RecordPlaces;
  #record: VmRecord = { state: "starting", since: Date.now(), restarts: 0, stoppedByUser: false };

  constructor(places: RecordPlaces) {
    this.#places = places;
  }

  get record(): VmRecord {
    return this.#record;
  }

  enter(state: VmState, more: Partial<VmRecord> = {}): void {
    this.change({ ...more, state, since: Date.now() });
    const ended = state === "stopped" || state === "restarting";
    this.#places.console.tell(state, ended ? this.#record.exit : undefined);
  }

  /** A disk that is full must not end a VM: whoever asks the monitor hears the truth in any case. */
  change(more: Partial<VmRecord>): void {
    this.#record = { ...this.#record, ...more };
    try {
      this.#places.vm.writeRecord(this.#record);
    } catch (error) {
      this.#places.log.event(error instanceof Error ? error.message : String(error));
    }
  }

  tell(event: Omit<VmEvent, "time" | "vm">): void {
    const { state, vm, log } = this.#places;
    appendEvent(state, { vm: vm.name, ...event });
    if (event.event !== "exit") log.event(event.event);
  }

  /** The machine has ended. */
  tellExit(exit: ExitRecord): void {
    const { reason, status, message } = exit;
    this.tell({ event: "exit", reason, status, ...(message === undefined ? {} : { message }) });
    this.#places.log.event(exitText(exit));
  }
}
