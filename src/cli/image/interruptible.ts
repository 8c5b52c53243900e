import { constants } from "node:os";
import { signalStatus } from "../exit-codes.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs `work`, which SIGINT, SIGTERM and SIGHUP abort. With `finish` the first signal only makes a note of that: for work that
 * is short, and better done than half done. The result is the exit status: 128 + n after signal n.
 */
export async function interruptible(
  work: (signal: AbortSignal) => Promise<number>,
  { finish = false }: { finish?: boolean } = {},
): Promise<number> {
  const abort = new AbortController();
  let received: number | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    const first = received === undefined;
    received ??= constants.signals[name];
    if (!finish || !first) abort.abort();
    else process.stderr.write("tsvm: a moment, to leave no image half changed; a second signal ends it\n");
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    const status = await work(abort.signal);
    return received === undefined ? status : signalStatus(received);
  } catch (error) {
    if (received !== undefined && error === abort.signal.reason) return signalStatus(received);
    throw error;
  } finally {
    for (const name of SIGNALS) process.off(name, onSignal);
  }
}
