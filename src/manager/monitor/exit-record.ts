/** From what a machine reports at its end, or the error that kept it from starting, to what is kept. */
import { TsvmError } from "../../errors.ts";
import type { StopReport } from "../../machine/report.ts";
import { endMessage, endStatus, ExitCode, signalName, signalStatus } from "../../machine/outcome.ts";
import type { ExitRecord } from "../record.ts";

const SIGKILL = 9;
/** It comes from guests, and the state file is to fit into a block. */
const LONGEST_MESSAGE = 500;

/** What was asked of the machine before it ended. */
export interface StopIntent {
  readonly force: boolean;
  /** ms that the guest got. */
  readonly timeout: number;
  /** The command in the guest was sent SIGTERM. */
  readonly signaled: boolean;
}

export function exitRecord(
  report: StopReport,
  commandMode: boolean,
  intent: StopIntent | undefined,
): ExitRecord {
  const { reason, powerButton, error } = report;
  const at = Date.now();
  if (reason === "stopped") {
    const status = signalStatus(SIGKILL);
    if (intent?.force === true) return { reason: "killed", status, at };
    return { reason: "forced", status, message: forced(report, intent), powerButton, at };
  }
  const message = error?.message ?? endMessage(report) ?? deathMessage(report);
  const hint = error?.hint;
  return {
    reason,
    status: endStatus(report, commandMode && intent === undefined),
    ...(message === undefined ? {} : { message: cut(message) }),
    ...(hint === undefined ? {} : { hint: cut(hint) }),
    powerButton,
    at,
  };
}

/** A shell has only a status for it. */
function deathMessage({ command }: StopReport): string | undefined {
  if (command?.kind !== "signaled") return undefined;
  return `its command was ended by ${signalName(command.signal)}`;
}

export function failureRecord(error: unknown): ExitRecord {
  const message = error instanceof Error ? error.message : String(error);
  const hint = error instanceof TsvmError ? error.hint : undefined;
  return {
    reason: "error",
    status: ExitCode.Failure,
    message: cut(message),
    ...(hint === undefined ? {} : { hint: cut(hint) }),
    at: Date.now(),
  };
}

function forced({ powerButton }: StopReport, intent: StopIntent | undefined): string {
  const limit = `${(intent?.timeout ?? 0) / 1000} s`;
  if (intent?.signaled === true) return `the command was still there ${limit} after SIGTERM`;
  if (powerButton === "ignored") return `the guest ignored its power button for ${limit}`;
  if (powerButton === "noticed") return `the guest was still there ${limit} after its power button`;
  return "the guest knows of no power button";
}

function cut(text: string): string {
  return text.length > LONGEST_MESSAGE ? `${text.slice(0, LONGEST_MESSAGE)}…` : text;
}
