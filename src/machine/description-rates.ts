import type { RateLimit } from "../devices/rate-limiter.ts";
import { DescriptionError } from "./description-error.ts";
import type { DescriptionProblem } from "./description-problem.ts";

/** Which rate a burst is for. */
const RATE_OF: Record<string, keyof RateLimit> = {
  bytesBurst: "bytesPerSecond",
  operationsBurst: "operationsPerSecond",
};

type Limits = Readonly<Record<string, RateLimit>>;

/** Throws a {@link DescriptionError}, which begins with `at`, for the first limit that cannot be kept. */
export function checkRateLimits(limits: Limits, at: string): void {
  for (const { message, hint } of rateLimitProblems(limits))
    throw new DescriptionError(`${at} ${message}`, hint);
}

/** The limits that cannot be kept; paths and messages begin with the key in `limits`. */
export function* rateLimitProblems(limits: Limits): Generator<DescriptionProblem> {
  for (const [what, limit] of Object.entries(limits)) {
    for (const [name, value] of Object.entries(limit) as [string, number][]) {
      const path = [what, name];
      if (!(Number.isFinite(value) && value >= 1)) {
        yield { path, message: `${what}.${name}: ${value} is not at least 1` };
      }
      if (name.endsWith("Burst") && limit[RATE_OF[name]!] === undefined) {
        yield {
          path,
          message: `${what}.${name} without ${what}.${RATE_OF[name]!}`,
          hint: "a burst is what a limit lets pass at once after a pause",
        };
      }
    }
  }
}
