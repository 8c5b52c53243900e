/** Waiting for text on a machine's consoles. */
import { ConsoleSearch } from "./console-search.ts";
import { Deferred } from "../deferred.ts";
import { MachineEndedError, MachineTimeoutError } from "./errors.ts";
import type { ConsoleSource } from "./guest-output.ts";
import type { WaitOptions } from "./machine-types.ts";
import type { StopReport } from "./report.ts";

/** Both consoles: each is looked through by itself, because their bytes come in any order. */
export class ConsoleWatch {
  readonly #searches = { serial: new ConsoleSearch(), virtio: new ConsoleSearch() };
  readonly #onEnd = new Set<(report: StopReport) => void>();
  #report: StopReport | undefined;

  push(bytes: Buffer, source: ConsoleSource): void {
    this.#searches[source].push(bytes);
  }

  /** Calls `found`, once, when `pattern` is on one of them. The result gives up. */
  search(pattern: string | RegExp, found: (match: RegExpExecArray) => void): () => void {
    const undo: (() => void)[] = [];
    const stop = (): void => {
      for (const step of undo) step();
    };
    for (const search of [this.#searches.serial, this.#searches.virtio]) {
      let done = false;
      undo.push(
        search.add(pattern, (match) => {
          done = true;
          stop();
          found(match);
        }),
      );
      if (done) break;
    }
    return stop;
  }

  /** Rejects with a MachineTimeoutError, a MachineEndedError or the reason of the signal. */
  async wait(pattern: string | RegExp, { timeout, signal }: WaitOptions): Promise<RegExpExecArray> {
    signal?.throwIfAborted();
    const what = `the console showed ${typeof pattern === "string" ? JSON.stringify(pattern) : String(pattern)}`;
    const result = new Deferred<RegExpExecArray>();
    const giveUp = this.search(pattern, result.resolve);
    const onEnd = (report: StopReport): void => result.reject(new MachineEndedError(what, report));
    if (this.#report === undefined) this.#onEnd.add(onEnd);
    else onEnd(this.#report);
    const onAbort = (): void => result.reject(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    const timer =
      timeout === undefined
        ? undefined
        : setTimeout(() => result.reject(new MachineTimeoutError(what, timeout)), timeout);
    try {
      return await result.promise;
    } finally {
      giveUp();
      this.#onEnd.delete(onEnd);
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Nothing more comes. */
  end(report: StopReport): void {
    this.#report = report;
    for (const listener of this.#onEnd) listener(report);
  }
}
