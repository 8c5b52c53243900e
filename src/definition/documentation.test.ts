import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadText } from "./testing/load-text.ts";

const TEXT = readFileSync(new URL("../../docs/definition.md", import.meta.url), "utf8");
const EXAMPLES = [...TEXT.matchAll(/^```(yaml|xml|json)\n([^]*?)^```$/gm)];

describe("the examples of docs/definition.md", () => {
  it("are there", () =>
    expect(EXAMPLES.map(([, language]) => language)).toEqual(["yaml", "yaml", "xml", "json"]));

  it.each(EXAMPLES.map(([, language, text], index) => [index + 1, language!, text!] as const))(
    "%i (%s) can be loaded without a word",
    (_, language, text) => {
      const { printed, definitions } = loadText(text, `web.${language}`);
      expect(printed).toBe("");
      expect(definitions.length).toBeGreaterThan(0);
    },
  );

  it("show the problems of the file above them", () => {
    const printed = /^\$ tsvm define --check web\.yaml\n([^]*?)^```$/m.exec(TEXT)![1]!;
    const file = "version: 1\nvms:\n web:\n  memroy: 1G\n  cpus: two\n";
    expect(`${loadText(file, "web.yaml").printed}\n`).toBe(printed);
  });
});

it("names every key of the schema", () => {
  const schema = JSON.parse(
    readFileSync(new URL("../../schema/tsvm.schema.json", import.meta.url), "utf8"),
  ) as {
    else: { properties: object };
    definitions: Record<string, { properties: object }>;
  };
  const keys = [schema.else, ...Object.values(schema.definitions)].flatMap(({ properties }) =>
    Object.keys(properties),
  );
  expect(keys.filter((key) => !TEXT.includes(`\`${key}\``))).toEqual([]);
});
