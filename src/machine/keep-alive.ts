/**
 * Keeps the program alive while it waits for a machine, and only then. All threads and pipes of a machine are unref'ed; what
 * is waited for holds this, which is a timer that never fires.
 */
const NEVER_MS = 2 ** 31 - 1;

export class KeepAlive {
  readonly #holders = new Set<unknown>();
  #mode: "waits" | "always" | "never" = "waits";
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  hold(holder: unknown): void {
    this.#holders.add(holder);
    this.#update();
  }

  release(holder: unknown): void {
    this.#holders.delete(holder);
    this.#update();
  }

  /** Holds until `promise` is settled. */
  async while<T>(promise: Promise<T>): Promise<T> {
    const holder = {};
    this.hold(holder);
    try {
      return await promise;
    } finally {
      this.release(holder);
    }
  }

  /** Whoever waits or not. */
  ref(): void {
    this.#mode = "always";
    this.#update();
  }

  unref(): void {
    this.#mode = "never";
    this.#update();
  }

  /** There is nothing to wait for any more. */
  end(): void {
    this.#ended = true;
    this.#update();
  }

  #update(): void {
    const wanted =
      !this.#ended && (this.#mode === "always" || (this.#mode === "waits" && this.#holders.size > 0));
    if (wanted === (this.#timer !== undefined)) return;
    if (wanted) this.#timer = setInterval(() => undefined, NEVER_MS);
    else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }
}
