import { expect, it } from "vitest";
import { formatBytes, formatBytesExactly } from "./quantities.ts";

it.each([
  [1, "1 byte", "1 byte"],
  [512, "512 bytes", "512 bytes"],
  [1536, "1.5 KiB", "1.5 KiB"],
  [1537, "1.5 KiB", "1537 bytes"],
  [10 * 2 ** 30, "10 GiB", "10 GiB"],
  [10 * 2 ** 30 + 512, "10 GiB", "10737418752 bytes"],
])("%i bytes", (bytes, rounded, exactly) => {
  expect([formatBytes(bytes), formatBytesExactly(bytes)]).toEqual([rounded, exactly]);
});
