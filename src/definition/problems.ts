/** Collects what is wrong with a file, so that all of it can be told at once. */
import { DefinitionError, type DefinitionProblem } from "./problem.ts";
import type { Range, Source } from "./source.ts";

/** Characters of a message, which may quote the file. */
const LONGEST = 400;

/** Where a problem is; what is left out is not told. */
export interface Place {
  readonly range?: Range | undefined;
  readonly element?: string | undefined;
}

/** A file that a definition names. */
export interface NamedFile {
  /** Absolute. */
  readonly path: string;
  /** What is to be said where it is missing. */
  readonly missing: DefinitionProblem;
}

export class Problems {
  readonly source: Source;
  readonly #lenient: boolean;
  readonly #all: DefinitionProblem[] = [];
  readonly #files: NamedFile[] = [];
  /** Elements with an error. */
  readonly #wrong = new Set<string>();

  /** @param lenient Make what tsvm cannot carry out warnings. */
  constructor(source: Source, lenient = false) {
    this.source = source;
    this.#lenient = lenient;
  }

  get all(): readonly DefinitionProblem[] {
    return this.#all;
  }

  get failed(): boolean {
    return this.#all.some(({ severity }) => severity === "error");
  }

  /** Whether this very element has an error already, of which another one would be a consequence. */
  hasErrorAt(element: string | undefined): boolean {
    return element !== undefined && this.#wrong.has(element);
  }

  error(message: string, place: Place = {}, hint?: string): void {
    this.#add("error", message, place, hint);
  }

  warning(message: string, place: Place = {}, hint?: string): void {
    this.#add("warning", message, place, hint);
  }

  /**
   * What the file asks for and the machine would be without: an error, or with `lenient` a warning.
   *
   * @param instead What becomes of it then, as in "--lenient goes on without it".
   */
  lacking(message: string, place: Place = {}, instead = "goes on without it"): void {
    if (this.#lenient) this.#add("warning", message, place, `tsvm ${instead}`);
    else this.#add("error", message, place, `--lenient ${instead}`);
  }

  /** The file that `what` names; whether it is there is of interest only where the machine is to run. */
  names(what: string, path: string, place: Place): void {
    this.#files.push({ path, missing: this.#make("warning", `${what}: there is no file ${path}`, place) });
  }

  get files(): readonly NamedFile[] {
    return this.#files;
  }

  /** Throws a DefinitionError if there was an error; else the result is the warnings, in the order of the file. */
  finish(): readonly DefinitionProblem[] {
    const sorted = this.#all.toSorted(
      (a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
    );
    if (this.failed) throw new DefinitionError(sorted);
    return sorted;
  }

  #add(severity: "error" | "warning", message: string, place: Place, hint?: string): void {
    this.#all.push(this.#make(severity, message, place, hint));
    if (severity === "error" && place.element !== undefined) this.#wrong.add(place.element);
  }

  #make(
    severity: "error" | "warning",
    message: string,
    { range, element }: Place,
    hint?: string,
  ): DefinitionProblem {
    const text = message.length > LONGEST ? `${message.slice(0, LONGEST)}…` : message;
    const problem: DefinitionProblem = { severity, message: text, file: this.source.path };
    if (hint !== undefined) problem.hint = hint;
    if (range !== undefined) {
      Object.assign(problem, this.source.position(range[0]));
      const excerpt = this.source.excerpt(range);
      if (excerpt !== undefined) problem.excerpt = excerpt;
    }
    if (element !== undefined && element !== "") problem.element = element;
    return problem;
  }
}
