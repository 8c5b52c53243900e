/**
 * Firecracker's token buckets: `size` tokens, refilled evenly within `refill_time` ms. The rate is `size` per refill time, and a full
 * bucket is the burst.
 */
import type { RateLimit } from "../../machine/description.ts";
import { given } from "../given.ts";
import type { Place, Problems } from "../problems.ts";
import type { TokenBucket } from "./schema.ts";

interface Limiter {
  readonly bandwidth?: TokenBucket | undefined;
  readonly ops?: TokenBucket | undefined;
}

export function readRateLimit(
  limiter: Limiter | undefined,
  problems: Problems,
  at: (...keys: string[]) => Place,
): RateLimit | undefined {
  const bytes = readBucket(limiter?.bandwidth, problems, (...keys) => at("bandwidth", ...keys));
  const operations = readBucket(limiter?.ops, problems, (...keys) => at("ops", ...keys));
  if (bytes === undefined && operations === undefined) return undefined;
  return {
    ...(bytes === undefined ? {} : { bytesPerSecond: bytes.rate, ...burst("bytesBurst", bytes) }),
    ...(operations === undefined
      ? {}
      : { operationsPerSecond: operations.rate, ...burst("operationsBurst", operations) }),
  };
}

interface Bucket {
  readonly rate: number;
  readonly burst: number;
}

/** A burst of one second's worth is the default. */
function burst<K extends string>(key: K, bucket: Bucket): Partial<Record<K, number>> {
  return (bucket.burst === bucket.rate ? {} : { [key]: bucket.burst }) as Partial<Record<K, number>>;
}

/** Undefined for a bucket that limits nothing: one of these numbers is 0. */
function readBucket(
  bucket: TokenBucket | undefined,
  problems: Problems,
  at: (...keys: string[]) => Place,
): Bucket | undefined {
  if (bucket === undefined || bucket.size === 0 || bucket.refill_time === 0) return undefined;
  const { size, refill_time, one_time_burst = 0 } = bucket;
  if (one_time_burst > 0) {
    problems.warning("one_time_burst: tsvm has no extra burst at the start", at("one_time_burst"));
  }
  return { rate: Math.max(1, Math.round((size * 1000) / refill_time)), burst: size };
}

/** Undefined where there is nothing to limit. */
export function writeRateLimiter(limit: RateLimit = {}): Limiter | undefined {
  const bandwidth = writeBucket(limit.bytesPerSecond, limit.bytesBurst);
  const ops = writeBucket(limit.operationsPerSecond, limit.operationsBurst);
  return bandwidth === undefined && ops === undefined ? undefined : given({ bandwidth, ops });
}

/** A bucket with this rate per second; undefined without one. */
function writeBucket(rate: number | undefined, most: number | undefined): TokenBucket | undefined {
  if (rate === undefined) return undefined;
  if (most === undefined || most === rate) return { size: rate, refill_time: 1000 };
  return { size: most, refill_time: Math.max(1, Math.round((most * 1000) / rate)) };
}
