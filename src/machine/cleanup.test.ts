import { expect, it } from "vitest";
import { Cleanup } from "./cleanup.ts";

it("undoes in reverse order, once, and past a step that fails", () => {
  const done: number[] = [];
  const cleanup = new Cleanup();
  cleanup.add(() => done.push(1));
  cleanup.add(() => {
    throw new Error("no");
  });
  cleanup.add(() => done.push(3));
  void cleanup.run();
  void cleanup.run();
  expect(done).toEqual([3, 1]);
});

it("waits for the steps that take long, which do not wait for each other", async () => {
  const done: string[] = [];
  const cleanup = new Cleanup();
  cleanup.add(() => void done.push("first"));
  cleanup.add(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    done.push("slow");
  });
  cleanup.add(async () => Promise.reject(new Error("no")));
  await cleanup.run();
  expect(done).toEqual(["first", "slow"]);
});
