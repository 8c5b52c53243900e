/** What the end of a machine comes to for the shell: an exit status, and a word on why it did not end well. docs/cli.md. */
import { constants } from "node:os";
import type { StopReport } from "./report.ts";

/** Exit statuses that are not the guest command's own. */
export const ExitCode = {
  Ok: 0,
  /** The command line makes no sense. */
  Usage: 2,
  /** `tsvm image check`: clusters that nothing refers to. */
  ImageLeaks: 3,
  /** `tsvm image check`: tables that contradict each other. */
  ImageCorrupt: 4,
  /** The guest kernel panicked. */
  Panic: 121,
  /** The guest crashed: triple fault, or something that neither KVM nor tsvm can carry out. */
  Crash: 122,
  /** --timeout ran out. */
  Timeout: 124,
  /** tsvm itself failed, before or while running the guest. */
  Failure: 125,
  /** The command in the guest could not be run, or was not found. */
  NotExecutable: 126,
  NotFound: 127,
} as const;

/** A shell reports a death by signal `n` as 128 + n; so do we. */
export function signalStatus(signal: number): number {
  return 128 + signal;
}

/** `SIGTERM`. A guest may send itself one that has no name. */
export function signalName(signal: number): string {
  const entry = Object.entries(constants.signals).find(([, number]) => number === signal);
  return entry?.[0] ?? `signal ${signal}`;
}

/** `commandMode`: the guest was to run a command. */
export function endStatus(report: StopReport, commandMode: boolean): number {
  const { reason, command, error } = report;
  if (reason === "command" && command !== undefined) {
    if (command.kind === "exited") return command.status;
    if (command.kind === "signaled") return signalStatus(command.signal);
    const ENOENT = 2;
    return command.errno === ENOENT ? ExitCode.NotFound : ExitCode.NotExecutable;
  }
  switch (reason) {
    case "panic":
      return ExitCode.Panic;
    case "triple-fault":
      return ExitCode.Crash;
    case "crash":
      return error?.code === "ERR_INTERNAL" ? ExitCode.Failure : ExitCode.Crash;
    default:
      // Whoever asked for a command did not get its exit status.
      return commandMode ? ExitCode.Failure : ExitCode.Ok;
  }
}

/** Why a machine ended that did not end well by itself; undefined for a good end, and for an error, which speaks for itself. */
export function endMessage({ reason, command, panic }: StopReport): string | undefined {
  if (reason === "panic") return `guest: ${panic!}`;
  if (reason === "triple-fault")
    return "the guest ended in a triple fault (it could not handle an exception)";
  if (command?.kind === "not-started") return `guest: ${command.message}`;
  return undefined;
}
