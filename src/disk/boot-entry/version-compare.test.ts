import { expect, it } from "vitest";
import { compareVersions } from "./version-compare.ts";

// The order of the specification's examples, and of versions that distributions have.
it.each([
  ["11", "11"],
  ["systemd-123", "systemd-123"],
  ["11α", "11β"],
])("%s is %s", (a, b) => {
  expect(compareVersions(a, b)).toBe(0);
});

it.each([
  ["bar-123", "foo-123"],
  ["123", "123a"],
  ["123.a", "123.b"],
  ["123", "123.a"],
  ["123.a", "123a"],
  ["6.1.0-9-amd64", "6.1.0-13-amd64"],
  ["6.1~rc1", "6.1"],
  ["6.1", "6.1-1"],
  ["6.1-1", "6.1^1"],
  ["6.1^1", "6.1.1"],
  ["6.5.6-300.fc39.x86_64", "6.5.10-300.fc39.x86_64"],
  ["0-rescue", "6.1"],
  ["A", "a"],
  ["1.009", "1.10"],
  ["", "1"],
])("%j is older than %j", (a, b) => {
  expect(compareVersions(a, b)).toBeLessThan(0);
  expect(compareVersions(b, a)).toBeGreaterThan(0);
});
