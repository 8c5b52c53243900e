import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { overwriteJson, readJson, writeJson } from "./json-file.ts";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tsvm-json-"));
  path = join(directory, "state.json");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const whole = ({ value }: { value: number }): boolean => typeof value === "number";
const read = (): { value: number } | undefined => readJson<{ value: number }>(path, whole);

describe("state files", () => {
  it("come back as they were written, in whole blocks", () => {
    expect(read()).toBeUndefined();
    writeJson(path, { value: 1 });
    expect(read()).toMatchObject({ value: 1 });
    expect(statSync(path).size).toBe(4096);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).toMatch(/^\{\n {2}"format": 1,\n {2}"value": 1\n\} +\n$/);
    writeJson(path, { value: 2 });
    expect(readdirSync(directory)).toEqual(["state.json"]);
    overwriteJson(path, { value: 3 });
    expect(read()).toMatchObject({ value: 3 });
  });

  it("that cannot be written leave the old one alone", () => {
    writeJson(path, { value: 1 });
    expect(() => writeJson(join(directory, "no/such/state.json"), { value: 2 })).toThrow(
      "cannot be written: ENOENT",
    );
    expect(() => overwriteJson(join(directory, "none.json"), { value: 2 })).toThrow("cannot be written");
    expect(read()).toMatchObject({ value: 1 });
  });

  it.each([
    "",
    "{",
    "null",
    "[]",
    "7",
    "{}",
    '{"format": 1}',
    '{"format": 1, "value": "1"}',
    '{"format": 0, "value": 1}',
  ])("that hold %j are damaged", (text) => {
    writeFileSync(path, text);
    expect(read).toThrow(`${path}: damaged`);
  });

  it("of a newer version are refused", () => {
    writeFileSync(path, '{"format": 2, "value": 1}');
    expect(read).toThrow(`${path}: written by a newer tsvm (format 2, this one knows 1)`);
  });
});
