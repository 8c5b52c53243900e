import { expect, it } from "vitest";
import { LATENCY_BUCKETS, LatencyHistogram } from "./histogram.ts";

function filled(...ms: number[]): Record<number, number> {
  const histogram = new LatencyHistogram();
  for (const one of ms) histogram.record(one);
  const { count, buckets } = histogram.counts;
  expect(count).toBe(ms.length);
  expect(buckets).toHaveLength(LATENCY_BUCKETS);
  return Object.fromEntries([...buckets.entries()].filter(([, value]) => value > 0));
}

it("counts by powers of two, in microseconds", () => {
  expect(filled()).toEqual({});
  expect(filled(0, 0.000_9)).toEqual({ 0: 2 });
  expect(filled(0.001, 0.001_999)).toEqual({ 1: 2 });
  expect(filled(0.002, 0.003_999, 0.004)).toEqual({ 2: 2, 3: 1 });
  expect(filled(1, 1.023, 1.024)).toEqual({ 10: 2, 11: 1 });
});

it("has a last bucket for all that takes longer", () => {
  expect(filled(16_777.215)).toEqual({ 24: 1 });
  expect(filled(16_777.216, 2 ** 40, Infinity)).toEqual({ 25: 3 });
});

it("adds up, and is seen by others over the same memory", () => {
  const memory = new SharedArrayBuffer(64 + LatencyHistogram.BYTES);
  const writer = new LatencyHistogram(memory, 64);
  for (const ms of [1, 2, 3.5]) writer.record(ms);
  expect(new LatencyHistogram(memory, 64).counts).toMatchObject({ count: 3, sum: 6.5 });
});
