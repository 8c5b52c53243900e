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
  cleanup.run();
  cleanup.run();
  expect(done).toEqual([3, 1]);
});
