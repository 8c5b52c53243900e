/** The JSON Schema of the native format, for editors: from the zod values, and a bit wider, for variables. */
import * as z from "zod/mini";
import { fileSchema, singleSchema } from "./schema.ts";

type Schema = Record<string, unknown>;

/** Where a value has a form, a variable in its place may have any. */
const VARIABLE = { type: "string", pattern: "\\$\\{" };

/** Draft 7, which every editor knows. */
export function jsonSchema(): Schema {
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "tsvm definition",
    description: "Virtual machines for tsvm: several under vms, or one at the top.",
    type: "object",
    if: { required: ["vms"] },
    then: schemaOf(fileSchema),
    else: schemaOf(singleSchema),
  };
}

function schemaOf(schema: z.ZodMiniType): Schema {
  const made = allowVariables(z.toJSONSchema(schema, { target: "draft-07", io: "input" })) as Schema;
  delete made.$schema;
  // `x-…` at the top is the author's own.
  return { ...made, patternProperties: { "^x-": {} } };
}

function allowVariables(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(allowVariables);
  if (typeof value !== "object" || value === null) return value;
  const schema = value as Schema;
  if (isLeafWithForm(schema)) {
    const { description, ...form } = schema;
    return { ...(description === undefined ? {} : { description }), anyOf: [form, VARIABLE] };
  }
  return Object.fromEntries(Object.entries(schema).map(([key, inner]) => [key, allowVariables(inner)]));
}

function isLeafWithForm({ type, pattern, enum: values }: Schema): boolean {
  // The limits of a whole number are a pattern and an integer; a version is a number, and never a variable.
  return (
    (type === "string" && (pattern !== undefined || values !== undefined)) ||
    type === "boolean" ||
    type === "integer"
  );
}
