import { expect, it } from "vitest";
import { Scrollback } from "./scrollback.ts";

it("keeps the last bytes, whatever pieces they come in", () => {
  for (const size of [1, 3, 7, 10, 25]) {
    const scrollback = new Scrollback(10);
    const all = Buffer.from("abcdefghijklmnopqrstuvwxyz");
    for (let at = 0; at < all.length; at += size) scrollback.push(all.subarray(at, at + size));
    expect(scrollback.bytes.toString()).toBe("qrstuvwxyz");
  }
});

it("keeps all of little, and a copy of it", () => {
  const scrollback = new Scrollback(1000);
  const bytes = Buffer.from("x");
  for (let count = 0; count < 600; count++) scrollback.push(bytes);
  bytes.fill("y");
  expect(scrollback.bytes.toString()).toBe("x".repeat(600));
});
