/** ms of CLOCK_MONOTONIC: the same clock in all threads of the process, unlike performance.now(). */
export function monotonicNow(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
