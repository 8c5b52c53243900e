/** The JSON Schema of the native format, for editors: from the zod values, and a bit wider, for variables. */
import * as z from "zod/mini";
import { NAME } from "../names.ts";
import { fileSchema, singleSchema } from "./schema.ts";

type Schema = Record<string, unknown>;

/** Where a value has a form, a variable in its place may have any. */
const VARIABLE = { type: "string", pattern: "\\$\\{" };

/** Draft 7, which every editor knows. */
export function jsonSchema(): Schema {
  // One document for both, so that they share what they have in common.
  const made = z.toJSONSchema(z.union([fileSchema, singleSchema]), {
    target: "draft-07",
    io: "input",
  }) as Schema;
  const { $schema, definitions, anyOf } = allowVariables(made) as Schema;
  const [several, single] = (anyOf as { properties: { vms?: Schema } }[]).map((schema) => ({
    ...schema,
    // At the top these are the author's own.
    patternProperties: { "^x-": {} },
  }));
  // Left to us by the schema, so that what is in a VM with a bad name is looked at as well.
  several!.properties.vms!.propertyNames = { type: "string", pattern: NAME.source };
  return {
    $schema,
    title: "tsvm definition",
    description: "Virtual machines for tsvm: several under vms, or one at the top.",
    type: "object",
    if: { required: ["vms"] },
    then: several,
    else: single,
    definitions,
  };
}

function allowVariables(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(allowVariables);
  if (typeof value !== "object" || value === null) return value;
  const schema = value as Schema;
  if (Array.isArray(schema.anyOf) && (schema.anyOf as Schema[]).some(hasForm)) {
    return { ...schema, anyOf: [...(schema.anyOf as Schema[]).map(inner), VARIABLE] };
  }
  if (!hasForm(schema)) return inner(schema);
  const { description, ...form } = schema;
  return { ...(description === undefined ? {} : { description }), anyOf: [form, VARIABLE] };
}

/** What is in a schema, which itself stays as it is. */
function inner(schema: Schema): Schema {
  const entries = Object.entries(schema);
  // The names of VMs are keys, and keys have no variables.
  return Object.fromEntries(
    entries.map(([key, value]) => [key, key === "propertyNames" ? value : allowVariables(value)]),
  );
}

/** Whether not every text fits. */
function hasForm({ type, pattern, enum: values }: Schema): boolean {
  if (type === "string") return pattern !== undefined || values !== undefined;
  return type === "boolean" || type === "integer";
}
