/** Standard output with an eye on what goes wrong there: a reader that has left, a full disk. */

let failure: NodeJS.ErrnoException | undefined;
const listeners = new Set<() => void>();
let watching = false;

/** The first error of standard output so far. */
export function outputFailure(): NodeJS.ErrnoException | undefined {
  return failure;
}

/** Standard output; from now on its errors are kept, and no longer end the process with a stack trace. */
export function standardOutput(): NodeJS.WriteStream {
  if (!watching) {
    watching = true;
    process.stdout.on("error", (error: NodeJS.ErrnoException) => {
      failure ??= error;
      for (const listener of listeners) listener();
    });
  }
  return process.stdout;
}

/** Calls `listener` when standard output fails. The result takes that back. */
export function onOutputFailure(listener: () => void): () => void {
  standardOutput();
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function print(text: string): void {
  standardOutput().write(text);
}
