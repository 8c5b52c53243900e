import { describe, expect, it } from "vitest";
import type { ExitRecord } from "../record.ts";
import { Restarts } from "./restarts.ts";

const ended = (status: number): ExitRecord => ({ reason: "reset", status, at: 0 });

describe("restart policies", () => {
  it.each([
    [undefined, false, false],
    ["no", false, false],
    ["on-failure", false, true],
    ["always", true, true],
    ["unless-stopped", true, true],
  ] as const)("%s: after a good end %s, after a bad one %s", (policy, good, bad) => {
    const restarts = (): Restarts => new Restarts(policy === undefined ? undefined : { policy });
    expect(restarts().next(ended(0), 0) !== undefined).toBe(good);
    expect(restarts().next(ended(1), 0) !== undefined).toBe(bad);
  });

  it("end at their limit", () => {
    const restarts = new Restarts({ policy: "on-failure", maxRetries: 2 });
    expect([1, 2, 3].map(() => restarts.next(ended(1), 0) !== undefined)).toEqual([true, true, false]);
    expect(restarts.count).toBe(2);
  });

  it("wait longer each time, up to a minute, and start afresh after a machine that was well", () => {
    const restarts = new Restarts({ policy: "always" });
    const delays = Array.from({ length: 12 }, () => restarts.next(ended(1), 0));
    expect(delays.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(delays.at(-1)).toBe(60_000);
    expect(restarts.next(ended(1), 10_000)).toBe(100);
  });

  it("let a guest boot again at once that was up for a while, and slow down one that does nothing else", () => {
    const restarts = new Restarts();
    expect(restarts.reboot(60_000)).toBe(0);
    expect(restarts.reboot(10)).toBe(100);
    expect(restarts.reboot(10)).toBe(200);
    expect(restarts.count).toBe(0);
  });
});
