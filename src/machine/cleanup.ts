/** Undo steps, run in reverse order; each runs even if another throws. */
export class Cleanup {
  #steps: (() => void)[] = [];

  add(step: () => void): void {
    this.#steps.push(step);
  }

  run(): void {
    const steps = this.#steps.reverse();
    this.#steps = [];
    for (const step of steps) {
      try {
        step();
      } catch {
        // Undoing goes on: the error that led here is the one worth reporting.
      }
    }
  }
}
