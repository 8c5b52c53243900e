import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RateLimiter, TokenBucket } from "./rate-limiter.ts";

describe("TokenBucket", () => {
  it("lets a burst pass, then so much a second", () => {
    const bucket = new TokenBucket(100, 10, 0);
    for (let taken = 0; taken < 10; taken++) {
      expect(bucket.delay(0)).toBe(0);
      bucket.take(1);
    }
    expect(bucket.delay(0)).toBe(10);
    expect(bucket.delay(9)).toBeCloseTo(1);
    expect(bucket.delay(10)).toBe(0);
    // Never more than the burst, however long nobody came.
    expect(bucket.delay(1e6)).toBe(0);
    bucket.take(11);
    expect(bucket.delay(1e6)).toBeCloseTo(20);
  });

  it("keeps the rate, whatever is taken and whenever (property)", () => {
    const steps = fc.array(
      fc.record({ wait: fc.integer({ min: 0, max: 500 }), count: fc.integer({ min: 1, max: 300 }) }),
      { minLength: 5, maxLength: 100 },
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 1000 }),
        steps,
        (rate, burst, all) => {
          const bucket = new TokenBucket(rate, burst, 0);
          let now = 0;
          let passed = 0;
          for (const { wait, count } of all) {
            now += wait;
            const delay = bucket.delay(now);
            now += delay;
            expect(bucket.delay(now)).toBeLessThan(0.001);
            // Before this one, so that the last debt does not count.
            expect(passed).toBeLessThanOrEqual(burst + (rate * now) / 1000 + 0.001);
            bucket.take(count);
            passed += count;
          }
        },
      ),
    );
  });
});

describe("RateLimiter", () => {
  it("counts reads and writes apart and together, bytes and operations", () => {
    const limits = new RateLimiter(
      {
        total: { operationsPerSecond: 1000, operationsBurst: 3 },
        read: { bytesPerSecond: 1000 },
        write: { bytesPerSecond: 500, bytesBurst: 100 },
      },
      0,
    );
    expect(limits.admit(false, 1000, 0)).toBe(0);
    // Reads have used up their bytes; writes have theirs.
    expect(limits.admit(false, 1, 0)).toBe(1);
    expect(limits.admit(true, 100, 0)).toBe(0);
    expect(limits.admit(true, 1, 0)).toBe(2);
    // A flush moves nothing, and is the last of three operations.
    expect(limits.admit(true, 0, 0)).toBe(0);
    expect(limits.admit(true, 0, 0)).toBe(1);
    expect(limits.admit(true, 0, 1)).toBe(0);
  });

  it("lets all pass where nothing is limited", () => {
    const limits = new RateLimiter({}, 0);
    for (let one = 0; one < 1000; one++) expect(limits.admit(one % 2 === 0, 1e9, 0)).toBe(0);
  });
});
