import { parseDuration } from "../values.ts";

export interface StopFlags {
  readonly timeout?: string;
}

/** ms that a guest gets to shut down; 0 forces it off at once. Undefined leaves it to its definition. */
export function stopLimit(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return text.trim() === "0" ? 0 : parseDuration("--timeout", text);
}
