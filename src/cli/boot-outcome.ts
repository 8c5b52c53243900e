/** What a finished run comes to: an exit status, and on stderr a word on why it did not end well. docs/cli.md. */
import type { PowerButton, StopReport } from "../machine/report.ts";
import { formatError } from "./errors.ts";
import { ExitCode, signalStatus } from "./exit-codes.ts";
import type { Frontend } from "./frontend.ts";
import { outputFailure } from "./output.ts";

export function exitStatus(report: StopReport, { commandMode, interruptedBy, timedOut }: Frontend): number {
  if (report.reason === "command" && report.command !== undefined) {
    const { command } = report;
    if (command.kind === "exited") return command.status;
    if (command.kind === "signaled") return signalStatus(command.signal);
    const ENOENT = 2;
    return command.errno === ENOENT ? ExitCode.NotFound : ExitCode.NotExecutable;
  }
  if (timedOut) return ExitCode.Timeout;
  switch (report.reason) {
    case "panic":
      return ExitCode.Panic;
    case "triple-fault":
      return ExitCode.Crash;
    case "crash":
      return report.error?.code === "ERR_INTERNAL" ? ExitCode.Failure : ExitCode.Crash;
    case "stopped":
      if (interruptedBy !== undefined) return signalStatus(interruptedBy);
      return commandMode ? ExitCode.Failure : ExitCode.Ok;
    default:
      // Whoever asked for a command did not get its exit status.
      return commandMode ? ExitCode.Failure : ExitCode.Ok;
  }
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
  const { reason, command, panic, powerButton, timeline } = report;
  const { commandMode, interruptedBy, impatient, timedOut } = frontend;
  if (timedOut) {
    const silent = !commandMode && timeline.firstConsoleByte === undefined;
    return `ended after ${limits.timeout! / 1000} s, the --timeout${silent ? SILENCE : ""}`;
  }
  if (reason === "panic") return `guest: ${panic!}`;
  if (reason === "triple-fault")
    return "the guest ended in a triple fault (it could not handle an exception)";
  if (reason === "stopped" && interruptedBy !== undefined) {
    return impatient ? undefined : forcedOff(powerButton, limits.shutdown);
  }
  if (command?.kind === "not-started") return `guest: ${command.message}`;
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
