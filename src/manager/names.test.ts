import { describe, expect, it } from "vitest";
import { checkVmName, isVmName, quoted, unknownVm } from "./names.ts";

describe("names of VMs", () => {
  it.each(["web", "a", "Web-1.2_x", "9", "a".repeat(63)])("%s", (name) => {
    expect(isVmName(name)).toBe(true);
  });

  it.each([
    "",
    ".web",
    "-web",
    "_web",
    "we b",
    "a/b",
    "..",
    "../web",
    "web\n",
    "wéb",
    "\x1b[2J",
    "a".repeat(64),
    "a\0",
  ])("not %j", (name) => {
    expect(() => checkVmName(name)).toThrow("cannot be the name of a VM");
  });

  it("shows what a terminal would obey", () => {
    expect(quoted('a"\x1b[2J\u009b\u202e')).toBe('"a\\"\\u001b[2J\\u009b\\u202e"');
    expect(quoted("x".repeat(1000)).length).toBeLessThan(100);
  });

  it("tells what was probably meant", () => {
    expect(unknownVm("wbserver", ["db", "webserver"]).hint).toBe("did you mean webserver?");
    expect(unknownVm("mail", ["db"]).hint).toBe("tsvm ps --all lists those that there are");
    expect(unknownVm("mail", []).hint).toContain("tsvm define");
  });
});
