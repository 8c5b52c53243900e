import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { Turnstile } from "./turnstile.ts";

test("no more than there are places at a time, in order, whatever becomes of them", async () => {
  const turnstile = new Turnstile(2);
  const begun: number[] = [];
  let inside = 0;
  let most = 0;
  const results = await Promise.allSettled(
    Array.from({ length: 7 }, (_, i) =>
      turnstile.pass(async () => {
        begun.push(i);
        most = Math.max(most, ++inside);
        await turn();
        inside--;
        if (i % 3 === 0) throw new Error(`${i}`);
        return i;
      }),
    ),
  );
  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(most).toBe(2);
  expect(results.map(({ status }) => status === "fulfilled")).toEqual([
    false,
    true,
    true,
    false,
    true,
    true,
    false,
  ]);
  expect(await turnstile.pass(async () => "free again")).toBe("free again");
});
