/** What a finished run comes to: an exit status, and on stderr a word on why it did not end well. docs/cli.md. */
import { endMessage, endStatus, signalName } from "../machine/outcome.ts";
import type { PowerButton, StopReport } from "../machine/report.ts";
import { formatError } from "./errors.ts";
import { ExitCode, signalStatus } from "./exit-codes.ts";
import type { Frontend } from "./frontend.ts";
import { outputFailure } from "./output.ts";

export function exitStatus(report: StopReport, { commandMode, interruptedBy, timedOut }: Frontend): number {
  const ownEnd = report.reason === "command" && report.command !== undefined;
  if (timedOut && !ownEnd) return ExitCode.Timeout;
  if (report.reason === "stopped" && interruptedBy !== undefined) return signalStatus(interruptedBy);
  return endStatus(report, commandMode);
}

/** The limits that the user set, in ms. */
export interface TimeLimits {
  readonly timeout: number | undefined;
  readonly shutdown: number;
}

/** Says on stderr why a machine ended that did not end well. */
export function explain(report: StopReport, frontend: Frontend, limits: TimeLimits, debug: boolean): void {
  if (report.error !== undefined) {
    process.stderr.write(formatError(report.error, debug));
    return;
  }
  const reason = explanation(report, frontend, limits);
  if (reason !== undefined) process.stderr.write(`tsvm: ${reason}\n`);
}

/** For whoever waited in vain. */
const SILENCE =
  "\n  → the guest never printed anything: its kernel needs a driver for the serial port (CONFIG_SERIAL_8250_CONSOLE)" +
  "\n    and console=ttyS0, which tsvm adds; earlyprintk=ttyS0 (--append) shows where an early boot stops";

function explanation(report: StopReport, frontend: Frontend, limits: TimeLimits): string | undefined {
  const { reason, powerButton, timeline } = report;
  const { commandMode, interruptedBy, impatient, left, timedOut } = frontend;
  if (timedOut) {
    const silent = !commandMode && timeline.firstConsoleByte === undefined;
    return `ended after ${limits.timeout! / 1000} s, the --timeout${silent ? SILENCE : ""}`;
  }
  const message = endMessage(report);
  if (message !== undefined) return message;
  if (reason === "stopped" && interruptedBy !== undefined) {
    if (impatient) return "ended by the second signal";
    return forcedOff(powerButton, limits.shutdown) ?? `ended by ${signalName(interruptedBy)}`;
  }
  if (reason === "stopped" && left) return "ended by Ctrl-A x";
  const unfinished = commandMode && reason !== "command" && interruptedBy === undefined;
  if (unfinished && outputFailure() === undefined)
    return `the guest ended (${reason}) before the command did`;
  return undefined;
}

/** The guest was asked to shut down by a signal to us, and did not. */
function forcedOff(powerButton: PowerButton, limit: number): string | undefined {
  const seconds = limit / 1000;
  if (powerButton === "ignored") return `the guest ignored its power button for ${seconds} s: forced off`;
  if (powerButton === "noticed") {
    return `the guest was still there ${seconds} s after its power button: forced off`;
  }
  return undefined;
}
