import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { jsonSchema } from "./json-schema.ts";

it("is what schema/tsvm.schema.json has (npm run schema writes it)", () => {
  const published = readFileSync(new URL("../../../schema/tsvm.schema.json", import.meta.url), "utf8");
  expect(published).toBe(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
});

it("lets a variable stand wherever a value has a form", () => {
  const text = JSON.stringify(jsonSchema());
  const forms = text.match(/"(integer|boolean)"|"enum"/g)!;
  const variables = text.match(/"pattern":"\\\\\$\\\\\{"/g)!;
  expect(forms.length).toBeGreaterThan(10);
  // Those, and sizes, times and names.
  expect(variables.length).toBeGreaterThanOrEqual(forms.length);
});
