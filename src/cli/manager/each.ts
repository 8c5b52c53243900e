/** Verbs that take several VMs: each is tried, whatever becomes of the others. */
import { formatError } from "../errors.ts";
import { ExitCode } from "../exit-codes.ts";
import { print } from "../output.ts";
import { inOrder, type Outcome, type Step } from "../../manager/order.ts";

/**
 * Does `act` for each, prints what it returns (or nothing) as it comes, and errors to stderr. The result is the exit status: that of
 * a failure if one has failed.
 */
export async function forEachVm(
  steps: readonly Step[],
  act: (name: string) => Promise<string | undefined>,
): Promise<number> {
  const outcomes = await inOrder(steps, act, tell);
  return outcomes.some((outcome) => "error" in outcome) ? ExitCode.Failure : ExitCode.Ok;
}

function tell(outcome: Outcome<string | undefined>): void {
  if ("error" in outcome) process.stderr.write(formatError(outcome.error, process.argv.includes("--debug")));
  else if (outcome.value !== undefined) print(`${outcome.value}\n`);
}

/** VMs in no particular order; each once, however often it was named. */
export function independent(names: readonly string[]): Step[] {
  return [...new Set(names)].map((name) => ({ name, after: [] }));
}

export function note(text: string): void {
  process.stderr.write(`tsvm: ${text}\n`);
}
