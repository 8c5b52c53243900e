import { describe, expect, it } from "vitest";
import { inOrder, reversed, type Step } from "./order.ts";

const STEPS: readonly Step[] = [
  { name: "web", after: ["cache", "db"] },
  { name: "cache", after: ["db"] },
  { name: "db", after: ["elsewhere"] },
  { name: "mail", after: [] },
];

async function run(
  steps: readonly Step[],
  fails: string[] = [],
): Promise<{ log: string[]; outcomes: string[] }> {
  const log: string[] = [];
  const outcomes = await inOrder(steps, async (name) => {
    log.push(`+${name}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
    log.push(`-${name}`);
    if (fails.includes(name)) throw new Error(`no ${name}`);
    return name;
  });
  return {
    log,
    outcomes: outcomes.map((outcome) =>
      "error" in outcome ? (outcome.error as Error).message : outcome.value,
    ),
  };
}

describe("doing things in order", () => {
  it("goes by what depends on what, and does the rest at the same time", async () => {
    const { log, outcomes } = await run(STEPS);
    expect(log.slice(0, 2)).toEqual(["+db", "+mail"]);
    expect(log.filter((entry) => !entry.endsWith("mail"))).toEqual([
      "+db",
      "-db",
      "+cache",
      "-cache",
      "+web",
      "-web",
    ]);
    expect(outcomes).toEqual(["web", "cache", "db", "mail"]);
  });

  it("goes the other way round", async () => {
    const { log } = await run(reversed(STEPS));
    expect(log.filter((entry) => entry.startsWith("+") && entry !== "+mail")).toEqual([
      "+web",
      "+cache",
      "+db",
    ]);
  });

  it("leaves out what depends on what has failed, and nothing else", async () => {
    const { log, outcomes } = await run(STEPS, ["cache"]);
    expect(log).not.toContain("+web");
    expect(outcomes).toEqual(["web: left as it is, for cache has failed", "no cache", "db", "mail"]);
  });

  it("refuses circles", async () => {
    const circle = [
      { name: "a", after: ["b"] },
      { name: "b", after: ["c"] },
      { name: "c", after: ["b"] },
    ];
    await expect(run(circle)).rejects.toThrow("VMs that depend on each other in a circle: b → c → b");
  });

  it("does not do everything at once", async () => {
    let now = 0;
    let most = 0;
    const steps = Array.from({ length: 100 }, (_, at) => ({ name: `${at}`, after: [] }));
    await inOrder(steps, async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 1));
      now--;
    });
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThan(100);
  });
});
