/** Exit statuses that are not the guest command's own. docs/cli.md. */
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
