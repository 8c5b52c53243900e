/** The terminal in raw mode, and as it was again on every way out but SIGKILL. */
import type { WindowSize } from "../devices/virtio/console.ts";
import { passOutputThrough } from "./terminal-mode.ts";

export interface TerminalUser {
  data(bytes: Buffer): void;
  resize(size: WindowSize): void;
}

const FALLBACK: WindowSize = { rows: 25, columns: 80 };

export function terminalSize(): WindowSize {
  const { rows, columns } = process.stdout;
  return { rows: rows || FALLBACK.rows, columns: columns || FALLBACK.columns };
}

/** From now on every key goes to `user`, and output is shown byte by byte. The result takes that back. */
export function useRawTerminal(user: TerminalUser): () => void {
  const { stdin, stdout } = process;
  const onData = (bytes: Buffer): void => user.data(bytes);
  const onResize = (): void => user.resize(terminalSize());
  const restore = (): void => void stdin.setRawMode(false);
  stdin.setRawMode(true);
  passOutputThrough(0);
  // Whatever way this process ends, the terminal is as it was.
  process.once("exit", restore);
  stdin.on("data", onData);
  stdin.resume();
  stdout.on("resize", onResize);
  return () => {
    stdin.off("data", onData);
    stdin.pause();
    stdout.off("resize", onResize);
    restore();
    process.off("exit", restore);
  };
}
