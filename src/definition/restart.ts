/** Restart policies as one word: `no`, `always`, `unless-stopped`, `on-failure`, `on-failure:3`. */
import type { RestartPolicy } from "./definition.ts";

export const RESTART = /^(no|always|unless-stopped|on-failure)$|^on-failure:([1-9]\d{0,8})$/;

/** Undefined if `text` is none. */
export function parseRestart(text: string): RestartPolicy | undefined {
  const match = RESTART.exec(text);
  if (match === null) return undefined;
  const [, policy, retries] = match;
  return retries === undefined
    ? { policy: policy as RestartPolicy["policy"] }
    : { policy: "on-failure", maxRetries: Number(retries) };
}

export function formatRestart({ policy, maxRetries }: RestartPolicy): string {
  return maxRetries === undefined ? policy : `${policy}:${maxRetries}`;
}
