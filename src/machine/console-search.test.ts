import { describe, expect, it } from "vitest";
import { ConsoleSearch } from "./console-search.ts";

function found(search: ConsoleSearch, pattern: string | RegExp): string[] {
  const matches: string[] = [];
  search.add(pattern, (match) => matches.push(match[0]));
  return matches;
}

describe("ConsoleSearch", () => {
  it("finds what has come already, and what comes in pieces", () => {
    const search = new ConsoleSearch();
    search.push(Buffer.from("booting\nlog"));
    const login = found(search, /login: $/);
    expect(login).toEqual([]);
    search.push(Buffer.from("in: "));
    expect(login).toEqual(["login: "]);
    search.push(Buffer.from("login: "));
    expect(login).toHaveLength(1);
  });

  it("begins where the last search ended", () => {
    const search = new ConsoleSearch();
    search.push(Buffer.from("$ one\n$ "));
    expect(found(search, "$ ")).toEqual(["$ "]);
    expect(found(search, "$ ")).toEqual(["$ "]);
    const third = found(search, "$ ");
    expect(third).toEqual([]);
    search.push(Buffer.from("two\n$ "));
    expect(third).toEqual(["$ "]);
  });

  it("lets several look at the same text", () => {
    const search = new ConsoleSearch();
    const panic = found(search, "panic");
    const line = found(search, /^.*\n/);
    search.push(Buffer.from("a panic\n"));
    expect([panic, line]).toEqual([["panic"], ["a panic\n"]]);
  });

  it("takes a string literally, and no notice of g and y", () => {
    const search = new ConsoleSearch();
    search.push(Buffer.from("C:\\>(x)$"));
    expect(found(search, "\\>(x)$")).toHaveLength(1);
    const pattern = /x/gy;
    pattern.lastIndex = 7;
    search.push(Buffer.from("..x"));
    expect(found(search, pattern)).toEqual(["x"]);
  });

  it("puts characters together that come in two pieces", () => {
    const search = new ConsoleSearch();
    const bytes = Buffer.from("é");
    const match = found(search, "é");
    search.push(bytes.subarray(0, 1));
    search.push(bytes.subarray(1));
    expect(match).toEqual(["é"]);
  });

  it("keeps the last 64 KiB of a guest that prints without end, and can give up", () => {
    const search = new ConsoleSearch();
    search.push(Buffer.from("first"));
    for (let count = 0; count < 100; count++) search.push(Buffer.alloc(8192, 0x2e));
    expect(found(search, "first")).toEqual([]);
    search.push(Buffer.from("last"));
    for (let count = 0; count < 7; count++) search.push(Buffer.alloc(8192, 0x2e));
    expect(found(search, "last")).toEqual(["last"]);
    const matches: string[] = [];
    search.add("never", (match) => matches.push(match[0]))();
    search.push(Buffer.from("never"));
    expect(matches).toEqual([]);
  });
});
