import { TsvmError } from "../errors.ts";
import type { StopReport } from "./report.ts";

/** What a machine that is ending, or has ended, was asked for and cannot do. */
export class MachineStateError extends TsvmError {
  override name = "MachineStateError";
  constructor(what: string) {
    super("ERR_MACHINE_STATE", `${what}: the machine has ended`, {
      hint: "look at machine.state before, or at what machine.stopped resolves to",
    });
  }
}

/** What was waited for did not come before the machine ended. */
export class MachineEndedError extends TsvmError {
  override name = "MachineEndedError";
  /** How it ended. */
  readonly report: StopReport;
  constructor(what: string, report: StopReport) {
    super("ERR_MACHINE_ENDED", `the machine ended (${describe(report)}) before ${what}`, {
      hint: report.error?.hint,
      cause: report.error,
    });
    this.report = report;
  }
}

/** What was waited for did not come in time. The machine goes on. */
export class MachineTimeoutError extends TsvmError {
  override name = "MachineTimeoutError";
  constructor(what: string, milliseconds: number) {
    super("ERR_MACHINE_TIMEOUT", `${what}: not within ${milliseconds} ms`, {
      hint: "give it more time, or look at the guest's console",
    });
  }
}

function describe({ reason, command, panic, error }: StopReport): string {
  if (error !== undefined) return error.message;
  if (panic !== undefined) return panic;
  if (command?.kind === "exited") return `exit status ${command.status}`;
  if (command?.kind === "not-started") return command.message;
  return reason;
}
