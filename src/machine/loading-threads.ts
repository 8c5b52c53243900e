/**
 * Threads that still load their code. Node ends its threads when the process ends, and one that is just then loading koffi takes
 * the process down with a fatal error: its native part cannot throw into a thread that must not run JavaScript any more.
 */

/** One word each, which the thread makes 1 when it has loaded what it needs. */
const loading = new Set<Int32Array>();
/** All of them together get so long at the end. */
const PATIENCE_MS = 3000;

/** The word for a new thread. `forget` it when the thread has ended. */
export function expectLoading(): { readonly word: Int32Array; forget(): void } {
  const word = new Int32Array(new SharedArrayBuffer(4));
  if (loading.size === 0) process.on("exit", waitForAll);
  loading.add(word);
  return { word, forget: () => forget(word) };
}

function forget(word: Int32Array): void {
  if (loading.delete(word) && loading.size === 0) process.off("exit", waitForAll);
}

/** The threads go on while the main thread waits. */
function waitForAll(): void {
  const end = performance.now() + PATIENCE_MS;
  for (const word of loading) Atomics.wait(word, 0, 0, Math.max(0, end - performance.now()));
}

/** In the thread: all is loaded, or cannot be. */
export function doneLoading(word: Int32Array): void {
  Atomics.store(word, 0, 1);
  Atomics.notify(word, 0);
}
