/** What is wrong with a definition file: where, what, and what to do about it. */
import { TsvmError } from "../errors.ts";

export interface DefinitionProblem {
  severity: "error" | "warning";
  message: string;
  /** What to do about it. */
  hint?: string;
  file: string;
  /** From 1. */
  line?: number;
  /** In characters, from 1. */
  column?: number;
  /** JSON or XML path, such as `vms.web.disks[0].cache` or `/domain/devices/disk[2]/target`. */
  element?: string;
  /** The line in question and a second one that marks the place; no control characters. */
  excerpt?: string;
}

/** A definition file that cannot be used; carries every problem that was found, warnings included. */
export class DefinitionError extends TsvmError {
  override name = "DefinitionError";
  readonly problems: readonly DefinitionProblem[];

  constructor(problems: readonly DefinitionProblem[], cause?: unknown) {
    super("ERR_DEFINITION", summary(problems), { cause });
    this.problems = problems;
  }
}

/** More would push the first ones off the screen. */
const MOST_PRINTED = 100;

function summary(problems: readonly DefinitionProblem[]): string {
  const errors = problems.filter(({ severity }) => severity === "error");
  const texts = formatProblems(errors);
  const [first] = errors;
  return errors.length === 1 ? texts : `${printable(first?.file ?? "")}: ${errors.length} errors\n${texts}`;
}

/** One after the other, at most {@link MOST_PRINTED}. Without a line break at the end. */
export function formatProblems(problems: readonly DefinitionProblem[]): string {
  const lines = problems.slice(0, MOST_PRINTED).map(formatProblem);
  if (problems.length > MOST_PRINTED) lines.push(`… and ${problems.length - MOST_PRINTED} more`);
  return lines.join("\n");
}

/** `file:line:column: message`, then the line itself, then the hint. */
export function formatProblem(problem: DefinitionProblem): string {
  const { severity, message, hint, file, line, column, excerpt } = problem;
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  const lines = [`${printable(place)}: ${severity === "warning" ? "warning: " : ""}${printable(message)}`];
  if (excerpt !== undefined) lines.push(excerpt);
  if (hint !== undefined) lines.push(`  → ${printable(hint)}`);
  return lines.join("\n");
}

/** Files are hostile, and a terminal obeys control characters. */
export function printable(text: string): string {
  return text.replaceAll(
    // Also what reverses the direction of writing.
    /[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (character) => {
      const code = character.charCodeAt(0);
      return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
    },
  );
}
