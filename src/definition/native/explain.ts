/** Turns what zod finds into problems that name line and column. */
import type * as z from "zod/mini";
import type { Problems } from "../problems.ts";
import { didYouMean } from "../../suggestion.ts";
import { given } from "../given.ts";
import type { Tree } from "../tree/parse-tree.ts";
import { FLAG_RULE } from "./leaves.ts";
import { VERSION, vmSchema } from "./schema.ts";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** Keys that other tools' files have, and tsvm has not yet. */
const NOT_YET: Readonly<Record<string, string>> = {
  containers: "containers",
  services: "containers",
  volumes: "volumes",
};

/** Keys that other tools' files have, where a VM has `networks`. */
const NETWORK = "write networks: [{ type: user }]";
const PORTS = 'write networks: [{ type: user, forwards: ["8080:80"] }]';
const NETWORKS_INSTEAD: Readonly<Record<string, string>> = {
  network: NETWORK,
  net: NETWORK,
  nics: NETWORK,
  interfaces: NETWORK,
  "network-interfaces": NETWORK,
  ports: PORTS,
  publish: PORTS,
  forwards: PORTS,
};

export function explainIssues(issues: readonly Issue[], tree: Tree, problems: Problems): void {
  for (const issue of issues) explain(issue, [], tree, problems);
}

function explain(issue: Issue, prefix: Path, tree: Tree, problems: Problems): void {
  const path = [...prefix, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    for (const key of issue.keys) unknownKey(key, issue.message.split(" "), path, tree, problems);
    return;
  }
  const place = issue.code === "invalid_key" ? tree.atKey(path) : tree.at(path);
  if (problems.hasErrorAt(place.element)) return;
  if (issue.code === "invalid_key") {
    const [reason] = issue.issues;
    problems.error(`the key ${JSON.stringify(keyText(path))} ${reason?.message ?? "does not fit"}`, place);
    return;
  }
  const value = valueAt(tree.value, path);
  const misfit = (at: Path, what: unknown, complaint: string): void => {
    const { message, hint } = misfitText(at, what, complaint);
    problems.error(message, place, hint);
  };
  if (value === undefined) {
    problems.error(`${keyText(path)} is missing`, place, missingHint(path));
    return;
  }
  if (issue.code === "invalid_union") {
    const branch = fittingBranch(issue.errors);
    // A value of the right kind, with something wrong inside.
    if (branch !== undefined) for (const inner of branch) explain(inner, path, tree, problems);
    else misfit(path, value, issue.message);
    return;
  }
  if (value === null) {
    problems.error(`${keyText(path)} is empty`, tree.atKey(path), "give it a value, or leave it out");
    return;
  }
  if (path.length === 1 && path[0] === "version") {
    problems.error(
      `version: must be the number ${VERSION}, and is ${kindOf(value)}`,
      place,
      `write version: ${VERSION}${typeof value === "string" ? ", without quotes" : ""}`,
    );
    return;
  }
  if (issue.code === "invalid_value") {
    const values = issue.values.map(String);
    const list = `must be ${values.slice(0, -1).join(", ")} or ${values.at(-1)!}`;
    problems.error(about(path, value, list), place, didYouMean(String(value), values));
    return;
  }
  if (issue.code === "invalid_type") {
    // A text of our own says it better.
    const own = !issue.message.startsWith("Invalid input");
    if (own) misfit(path, value, issue.message);
    else problems.error(typeMessage(path, value, issue.expected), place, typeHint(value, issue.expected));
    return;
  }
  misfit(path, value, issue.message);
}

function unknownKey(key: string, known: readonly string[], path: Path, tree: Tree, problems: Problems): void {
  const place = tree.atKey([...path, key]);
  const missing = Object.hasOwn(NOT_YET, key) ? NOT_YET[key] : undefined;
  if (missing !== undefined) {
    problems.error(`${key}: tsvm has no ${missing} yet`, place);
    return;
  }
  problems.error(`unknown key "${key}"`, place, meant(key, known) ?? `known here: ${known.join(", ")}`);
}

function meant(key: string, known: readonly string[]): string | undefined {
  if (known.includes("networks") && Object.hasOwn(NETWORKS_INSTEAD, key)) return NETWORKS_INSTEAD[key];
  if (known.includes("forwards") && key === "ports") return "did you mean forwards?";
  if (known.includes("vms") && Object.hasOwn(vmSchema.shape, key))
    return "it belongs to a VM: put it below vms: NAME:";
  return didYouMean(key, known);
}

/** Of a union the alternative whose type the value has, if there is one. */
function fittingBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const wrongType = ({ code, path }: Issue): boolean =>
    path.length === 0 && (code === "invalid_type" || code === "invalid_value" || code === "invalid_union");
  const fitting = branches.filter((issues) => !issues.some(wrongType));
  // One that says something of its own beats a pattern of numbers as text.
  return fitting.length === 1 && fitting[0]!.every(({ code }) => code !== "invalid_format")
    ? fitting[0]
    : undefined;
}

function typeMessage(path: Path, value: unknown, expected: string): string {
  return `${keyText(path)} must be ${KIND_NAMES[expected] ?? expected}, and is ${kindOf(value)}`;
}

const KIND_NAMES: Readonly<Record<string, string>> = {
  string: "a text",
  object: "a mapping",
  record: "a mapping",
  array: "a list",
  boolean: "true or false",
  number: "a number",
  int: "a whole number",
};

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  if (typeof value === "string") return "a text";
  return `the ${typeof value === "boolean" ? "truth value" : "number"} ${String(value)}`;
}

function typeHint(value: unknown, expected: string): string | undefined {
  if (expected === "string" && (typeof value === "number" || typeof value === "boolean")) {
    return `put it into quotes: "${String(value)}"`;
  }
  if (expected === "array" && typeof value === "string") return `make it a list: ["${value.slice(0, 40)}"]`;
  return undefined;
}

function missingHint(path: Path): string | undefined {
  return path.length === 1 && path[0] === "version" ? "begin with version: 1" : undefined;
}

/** What people write who know YAML 1.1. */
const YAML_1_1_FLAG = /^(?:y|yes|on|n|no|off)$/i;

/** That a value does not fit, for the reason `complaint`, as the schema has it. */
function misfitText(path: Path, value: unknown, complaint: string): { message: string; hint?: string } {
  if (typeof value === "object" && value !== null && !/\blist\b|\bmapping\b/.test(complaint)) {
    // "needs a unit: write 512M or 2G"
    const [, remedy] = /: (write .*)$/.exec(complaint) ?? [];
    const [only, ...others] = Array.isArray(value) ? (value as unknown[]) : [];
    const bare = others.length === 0 && (typeof only === "string" || typeof only === "number");
    const hint = bare ? `leave out the brackets: ${keyText(path)}: ${String(only).slice(0, 40)}` : remedy;
    const wanted = complaint.startsWith("must ") ? complaint : "must be a single value";
    return { message: `${keyText(path)} ${wanted}, and is ${kindOf(value)}`, ...given({ hint }) };
  }
  const message = about(path, value, complaint);
  if (complaint === FLAG_RULE && typeof value === "string" && YAML_1_1_FLAG.test(value)) {
    return { message, hint: `write true or false: ${value} is a text in YAML 1.2` };
  }
  return { message };
}

/** `memory "12Q" is no size: write 512M or 2G`. */
function about(path: Path, value: unknown, complaint: string): string {
  const short = typeof value === "object" ? kindOf(value) : JSON.stringify(value);
  const shown = short.length > 60 ? `${short.slice(0, 60)}…` : short;
  return `${keyText(path)}: ${shown} ${complaint}`;
}

/** The last key, for an element of a list with its number. */
function keyText(path: Path): string {
  const last = path.at(-1);
  if (last === undefined) return "the file";
  return typeof last === "number" ? `${String(path.at(-2) ?? "")}[${last}]` : String(last);
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const step of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, step)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[step];
  }
  return at;
}
