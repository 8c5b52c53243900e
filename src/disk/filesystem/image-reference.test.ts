import { expect, it } from "vitest";
import { parseImageReference } from "./image-reference.ts";

it.each([
  ["disk.img", "disk.img", undefined],
  ["disk.img:2", "disk.img", 2],
  ["/a/b:c/disk.img:15", "/a/b:c/disk.img", 15],
  ["odd:7", "odd:7", undefined],
  ["odd:7:1", "odd:7", 1],
  ["disk.img:", "disk.img:", undefined],
  ["disk.img:x", "disk.img:x", undefined],
  [":2", ":2", undefined],
  ["disk.img:99999", "disk.img:99999", undefined],
])("%s", (text, path, partition) => {
  expect(parseImageReference(text, (name) => name === "odd:7")).toEqual({ path, partition });
});
