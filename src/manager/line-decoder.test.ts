import { expect, it } from "vitest";
import { LineDecoder } from "./line-decoder.ts";

it("finds lines however they are cut, characters included", () => {
  const bytes = Buffer.from("one\n\nzwölf\nrest");
  for (let size = 1; size <= bytes.length; size++) {
    const decoder = new LineDecoder(100);
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; at += size)
      lines.push(...decoder.push(bytes.subarray(at, at + size)));
    expect(lines).toEqual(["one", "", "zwölf"]);
  }
});

it("refuses a line that is too long before it is complete", () => {
  const decoder = new LineDecoder(10);
  expect([...decoder.push(Buffer.from("0123456789\n01234"))]).toEqual(["0123456789"]);
  expect([...decoder.push(Buffer.from("56789"))]).toEqual([]);
  expect(() => [...decoder.push(Buffer.from("x"))]).toThrow(RangeError);
});
