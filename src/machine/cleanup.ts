/** Undo steps, begun in reverse order; each runs even if another fails. */
export class Cleanup {
  #steps: (() => unknown)[] = [];

  /** A step that takes long returns a promise, for whose end the others do not wait. */
  add(step: () => unknown): void {
    this.#steps.push(step);
  }

  /** Begins all steps before it returns, and resolves when the last has ended. */
  async run(): Promise<void> {
    const steps = this.#steps.reverse();
    this.#steps = [];
    const ends: unknown[] = [];
    for (const step of steps) {
      try {
        ends.push(step());
      } catch {
        // Undoing goes on: the error that led here is the one worth reporting.
      }
    }
    await Promise.allSettled(ends);
  }
}
