import type { RateLimit } from "../devices/rate-limiter.ts";
import { DescriptionError } from "./description-error.ts";

/** Which rate a burst is for. */
const RATE_OF: Record<string, keyof RateLimit> = {
  bytesBurst: "bytesPerSecond",
  operationsBurst: "operationsPerSecond",
};

/** Throws a {@link DescriptionError}, which begins with `at`, for the first limit that cannot be kept. */
export function checkRateLimits(limits: Readonly<Record<string, RateLimit>>, at: string): void {
  for (const [what, limit] of Object.entries(limits)) {
    for (const [name, value] of Object.entries(limit) as [string, number][]) {
      if (!(Number.isFinite(value) && value >= 1)) {
        throw new DescriptionError(`${at} ${what}.${name}: ${value} is not at least 1`);
      }
      if (name.endsWith("Burst") && limit[RATE_OF[name]!] === undefined) {
        throw new DescriptionError(
          `${at} ${what}.${name} without ${what}.${RATE_OF[name]!}`,
          "a burst is what a limit lets pass at once after a pause",
        );
      }
    }
  }
}
