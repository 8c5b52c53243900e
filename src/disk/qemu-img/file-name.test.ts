import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { backingArgument, fileArgument } from "./file-name.ts";
import { backingPath } from "./overlay.ts";

it("a path is neither an option nor a protocol", () => {
  expect(fileArgument("-x.qcow2")).toBe("./-x.qcow2");
  expect(fileArgument("nbd:host,port")).toBe("./nbd:host,port");
  expect(fileArgument("json:{}")).toBe("./json:{}");
  expect(fileArgument("/images/a:b")).toBe("/images/a:b");
  expect(fileArgument("../a")).toBe("./../a");
  expect(backingArgument("base.qcow2")).toBe("base.qcow2");
  expect(backingArgument("a:b")).toBe("./a:b");
  expect(backingArgument("d/a:b")).toBe("d/a:b");
});

describe("what an overlay calls its base", () => {
  const before = process.cwd();
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "tsvm-names-")));
  beforeAll(() => {
    mkdirSync(join(directory, "vms"));
    mkdirSync(join(directory, "far/away"), { recursive: true });
    symlinkSync("far/away", join(directory, "near"));
    process.chdir(directory);
  });
  afterAll(() => {
    process.chdir(before);
    rmSync(directory, { recursive: true });
  });

  it.each([
    ["/images/base", "vms/new", "/images/base"],
    ["base", "new", "base"],
    ["./base", "new", "base"],
    ["base", "vms/new", "../base"],
    ["vms/base", "vms/new", "base"],
    ["base", `${directory}/vms/new`, "../base"],
    // Through a symbolic link, `..` leads elsewhere than it looks.
    ["base", "near/new", "../../base"],
    ["near/base", "new", "far/away/base"],
  ])("%s, seen from %s, is %s", (base, overlay, expected) => {
    expect(backingPath(base, overlay)).toBe(expected);
  });
});
