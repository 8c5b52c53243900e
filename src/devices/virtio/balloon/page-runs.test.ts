import { expect, it } from "vitest";
import { forEachRun } from "./page-runs.ts";

function runs(...pages: number[]): [number, number][] {
  const seen: [number, number][] = [];
  forEachRun(Uint32Array.from(pages), (first, count) => seen.push([first, count]));
  return seen;
}

it("joins neighbours in whatever order they come", () => {
  expect(runs()).toEqual([]);
  expect(runs(7)).toEqual([[7, 1]]);
  expect(runs(3, 1, 2, 9, 8)).toEqual([
    [1, 3],
    [8, 2],
  ]);
});

it("counts a page once that comes again and again", () => {
  expect(runs(5, 5, 5)).toEqual([[5, 1]]);
  expect(runs(6, 5, 6, 5, 8, 8)).toEqual([
    [5, 2],
    [8, 1],
  ]);
});

it("goes up to the last page that a number of 32 bits names", () => {
  expect(runs(0xffff_ffff, 0, 0xffff_fffe)).toEqual([
    [0, 1],
    [0xffff_fffe, 2],
  ]);
});
