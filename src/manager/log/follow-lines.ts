/** Reads a file of lines that grows and is rotated: PATH.1 is what PATH was before. */
import { closeSync, fstatSync, openSync, readSync, statSync, watch, type FSWatcher } from "node:fs";
import { basename, dirname } from "node:path";

/** Changes that the watcher did not tell of (a network file system) are seen after this time. */
const LOOK_INTERVAL_MS = 500;
const CHUNK = 64 * 1024;

export interface FollowOptions {
  /** Wait for more at the end of the file. */
  readonly follow?: boolean;
  /** Asked at the end of the file: nothing more will come, once this has been true and the rest been read. */
  readonly ended?: () => boolean;
  /** Called once, when all that was there at the start has been handed out. */
  readonly caughtUp?: () => void;
  readonly signal?: AbortSignal;
}

/** All lines of PATH.1 and PATH, without their line feeds. A file that is not there has none. */
export async function* followLines(path: string, options: FollowOptions = {}): AsyncGenerator<string> {
  const { follow = false, ended = () => false, caughtUp, signal } = options;
  const old = LineFile.open(`${path}.1`);
  let file = LineFile.open(path);
  if (old !== undefined) {
    // It was rotated between the two looks: there is nothing to read twice.
    if (file === undefined || !old.isSame(file)) yield* old.lines();
    old.close();
  }
  const bell = follow ? new Bell(path, signal) : undefined;
  try {
    let caught = false;
    for (;;) {
      const last = ended() || signal?.aborted === true;
      file ??= LineFile.open(path);
      if (file !== undefined) {
        yield* file.lines();
        if (file.wasReplaced(path)) {
          // Its last lines came before it was renamed.
          yield* file.lines();
          file.close();
          file = LineFile.open(path);
          continue;
        }
      }
      if (!caught) caughtUp?.();
      caught = true;
      if (bell === undefined || last) return;
      await bell.wait();
    }
  } finally {
    bell?.close();
    file?.close();
  }
}

class LineFile {
  readonly #fd: number;
  readonly #ino: number;
  #rest = "";
  #position = 0;

  private constructor(fd: number) {
    this.#fd = fd;
    this.#ino = fstatSync(fd).ino;
  }

  static open(path: string): LineFile | undefined {
    try {
      return new LineFile(openSync(path, "r"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  isSame(other: LineFile): boolean {
    return this.#ino === other.#ino;
  }

  wasReplaced(path: string): boolean {
    return statSync(path, { throwIfNoEntry: false })?.ino !== this.#ino;
  }

  *lines(): Generator<string> {
    const buffer = Buffer.alloc(CHUNK);
    for (;;) {
      const count = readSync(this.#fd, buffer, 0, CHUNK, this.#position);
      if (count === 0) return;
      this.#position += count;
      // By bytes at first: a chunk may end inside a character.
      const parts = (this.#rest + buffer.toString("latin1", 0, count)).split("\n");
      this.#rest = parts.pop()!;
      for (const part of parts) yield Buffer.from(part, "latin1").toString("utf8");
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Rings when something has happened in the file's directory. */
class Bell {
  #watcher: FSWatcher | undefined;
  #ring: (() => void) | undefined;
  #rung = false;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#notify();

  constructor(path: string, signal: AbortSignal | undefined) {
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
    try {
      this.#watcher = watch(dirname(path), (_, name) => {
        if (name === null || name.startsWith(basename(path))) this.#notify();
      });
      this.#watcher.on("error", () => undefined);
    } catch {
      // No inotify left, or no directory yet: looking now and then must do.
    }
  }

  async wait(): Promise<void> {
    if (!this.#rung) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#ring = resolve;
        timer = setTimeout(resolve, LOOK_INTERVAL_MS);
      });
      clearTimeout(timer);
    }
    this.#rung = false;
    this.#ring = undefined;
  }

  close(): void {
    this.#watcher?.close();
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }

  #notify(): void {
    this.#rung = true;
    this.#ring?.();
  }
}
