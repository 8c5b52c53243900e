/** The console of a VM, shown to any number of viewers. None of them can hold it up: who reads too slowly misses something. */
import type { ExitRecord, VmState } from "../record.ts";
import type { Connection } from "./connection.ts";
import { Scrollback } from "./scrollback.ts";

const SCROLLBACK_BYTES = 64 * 1024;

export class ConsoleHub {
  readonly #scrollback = new Scrollback(SCROLLBACK_BYTES);
  readonly #viewers = new Set<Connection>();

  get viewers(): number {
    return this.#viewers.size;
  }

  show(bytes: Buffer): void {
    this.#scrollback.push(bytes);
    for (const viewer of this.#viewers) viewer.showConsole(bytes);
  }

  tell(state: VmState, exit: ExitRecord | undefined): void {
    for (const viewer of this.#viewers) viewer.notify({ notice: "state", state, exit });
  }

  attach(viewer: Connection, scrollback: boolean): void {
    if (this.#viewers.has(viewer)) return;
    this.#viewers.add(viewer);
    const { bytes } = this.#scrollback;
    if (scrollback && bytes.length > 0) viewer.showConsole(bytes);
  }

  detach(viewer: Connection): void {
    this.#viewers.delete(viewer);
  }
}
