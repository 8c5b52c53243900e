import { EAGAIN, EINTR } from "../../ffi/constants.ts";
import type { ImageFile } from "../image-file.ts";
import { errnoOf } from "../io-error.ts";
import type { IoEngine, Operation } from "./io-engine.ts";

/** A flush, step by step: the engine waits for each file, and the format goes on where it has stopped. */
export class FlushOperation implements Operation {
  /** When it is done: 0, or what failed. */
  errno = 0;
  readonly #steps: Generator<ImageFile, void, undefined>;
  readonly #engine: IoEngine;
  readonly #done: (errno: number) => void;
  #file: ImageFile | undefined;

  /** `done` is called if {@link start} has said false. */
  constructor(steps: Generator<ImageFile, void, undefined>, engine: IoEngine, done: (errno: number) => void) {
    this.#steps = steps;
    this.#engine = engine;
    this.#done = done;
  }

  /** True if it is done already. */
  start(): boolean {
    return this.#advance(undefined);
  }

  finished(result: number): void {
    const file = this.#file!;
    let failure: unknown;
    try {
      // A call that could not be made is made here, and waited for.
      if (result === -EAGAIN || result === -EINTR) file.sync();
      else file.synced(-result);
    } catch (error) {
      failure = error;
    }
    if (this.#advance(failure)) this.#done(this.errno);
  }

  /** Goes on to the next file that has to be waited for; true if there is none. `failure` is what became of the last one. */
  #advance(failure: unknown): boolean {
    try {
      let step = failure === undefined ? this.#steps.next() : this.#steps.throw(failure);
      while (step.done !== true) {
        this.#file = step.value;
        if (this.#file.needsSync) {
          this.#engine.fdatasync(this.#file.fd, this);
          return false;
        }
        step = this.#steps.next();
      }
    } catch (error) {
      this.errno = errnoOf(error);
    }
    return true;
  }
}
