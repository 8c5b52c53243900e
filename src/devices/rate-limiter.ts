/** Token buckets that keep a device below so many bytes and operations a second. */

/** A bucket that fills with `perSecond` tokens a second, up to `burst`. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #filled: number;

  /** `now` in ms. A new bucket is full. */
  constructor(perSecond: number, burst: number, now: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#filled = now;
  }

  /** How long until {@link take} is allowed, in ms; 0 if it is now. */
  delay(now: number): number {
    const tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filled) * this.#perSecond) / 1000);
    this.#tokens = tokens;
    this.#filled = now;
    return tokens >= 1 ? 0 : ((1 - tokens) * 1000) / this.#perSecond;
  }

  /** Takes `count` tokens, also those that come only later: whoever comes next waits for them. */
  take(count: number): void {
    this.#tokens -= count;
  }
}

/** What may pass in a second. */
export interface RateLimit {
  bytesPerSecond?: number;
  /** Bytes that may be moved at once after a pause; one second's worth if left out. */
  bytesBurst?: number;
  operationsPerSecond?: number;
  /** Operations that may be started at once after a pause; one second's worth if left out. */
  operationsBurst?: number;
}

/** Limits for reads, for writes and for both together. */
export interface RateLimits {
  total?: RateLimit;
  read?: RateLimit;
  write?: RateLimit;
}

export class RateLimiter {
  readonly #read: Buckets;
  readonly #write: Buckets;

  constructor({ total, read, write }: RateLimits, now: number) {
    const both = bucketsOf(total, now);
    this.#read = join(both, bucketsOf(read, now));
    this.#write = join(both, bucketsOf(write, now));
  }

  /** How long an operation must wait, in ms; 0 if it may start, and then it is counted. */
  admit(isWrite: boolean, bytes: number, now: number): number {
    const { operations, volume } = isWrite ? this.#write : this.#read;
    let delay = 0;
    for (const bucket of operations) delay = Math.max(delay, bucket.delay(now));
    if (bytes > 0) for (const bucket of volume) delay = Math.max(delay, bucket.delay(now));
    if (delay > 0) return delay;
    for (const bucket of operations) bucket.take(1);
    if (bytes > 0) for (const bucket of volume) bucket.take(bytes);
    return 0;
  }

  /** Counts bytes of an operation that was admitted before its size was known; whoever comes next waits for them. */
  charge(isWrite: boolean, bytes: number): void {
    for (const bucket of (isWrite ? this.#write : this.#read).volume) bucket.take(bytes);
  }
}

interface Buckets {
  readonly operations: readonly TokenBucket[];
  readonly volume: readonly TokenBucket[];
}

function bucketsOf(limit: RateLimit = {}, now: number): Buckets {
  const { bytesPerSecond, bytesBurst, operationsPerSecond, operationsBurst } = limit;
  const bucket = (rate: number | undefined, burst: number | undefined): TokenBucket[] =>
    rate === undefined ? [] : [new TokenBucket(rate, burst ?? rate, now)];
  return {
    operations: bucket(operationsPerSecond, operationsBurst),
    volume: bucket(bytesPerSecond, bytesBurst),
  };
}

function join(one: Buckets, other: Buckets): Buckets {
  return {
    operations: [...one.operations, ...other.operations],
    volume: [...one.volume, ...other.volume],
  };
}
