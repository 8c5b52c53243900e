import { isTsvmError, TsvmError } from "../errors.ts";
import { sourceStack } from "./source-stack.ts";

/** An argument that cannot be understood. */
export class UsageError extends TsvmError {
  override name = "UsageError";
  constructor(message: string, hint?: string, cause?: unknown) {
    super("ERR_USAGE", message, { hint, cause });
  }
}

/** What to throw instead of `error` where the command line alone says what the machine is: a usage error, if that is refused. */
export function usageErrorOf(error: unknown): unknown {
  const refused = isTsvmError(error) && error.code === "ERR_DESCRIPTION";
  return refused ? new UsageError(error.message, error.hint, error) : error;
}

/** What a user sees of an error: message, then what to do about it. */
export function formatError(error: unknown, debug: boolean): string {
  if (isTsvmError(error)) {
    const hint = error.hint === undefined ? "" : `\n  → ${error.hint}`;
    const stack = debug ? `\n${describeStack(error)}` : "";
    return `tsvm: ${error.message}${hint}${stack}\n`;
  }
  const message = error instanceof Error ? error.message : String(error);
  const stack = debug && error instanceof Error ? `\n${describeStack(error)}` : "";
  return `tsvm: internal error: ${message}\n  → please report this with the output of --debug${stack}\n`;
}

function describeStack(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${describeStack(error.cause)}` : "";
  return `${sourceStack(error.stack ?? error.message)}${cause}`;
}
