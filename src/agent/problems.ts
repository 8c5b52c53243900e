/** What was not copied, while the rest goes on. */
import { CopyError, type CopyProblem } from "./errors.ts";

/** A guest could report problems without end. */
const KEPT = 1000;

export class Problems {
  readonly #kept: CopyProblem[] = [];
  #count = 0;

  add(problem: CopyProblem): void {
    this.#count++;
    if (this.#kept.length < KEPT) this.#kept.push(problem);
  }

  /** Throws a CopyError. */
  throwIfAny(): void {
    if (this.#count > 0) throw new CopyError(this.#kept, this.#count);
  }
}
