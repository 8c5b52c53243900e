/** Reads the native format: text → tree → schema → definitions. */
import type { VmDefinition } from "../definition.ts";
import type { Problems } from "../problems.ts";
import { Tree, parseTree } from "../tree/parse-tree.ts";
import { interpolator, type Variables } from "../variables.ts";
import { checkDependencies } from "./dependencies.ts";
import { explainIssues } from "./explain.ts";
import { NAME, NAME_RULE } from "../names.ts";
import { fileSchema, singleSchema, VERSION, type NativeVm } from "./schema.ts";
import { toDefinition } from "./to-definition.ts";

/** What is wrong goes to `problems`; the result is of use only if there are no errors. */
export function readNative(problems: Problems, variables: Variables): VmDefinition[] {
  const tree = parseTree(problems, { interpolate: interpolator(variables, problems) });
  if (tree === undefined) return [];
  const { value } = tree;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    problems.error(
      "a definition is a mapping, with version and vms, or version and what one VM has",
      tree.at([]),
    );
    return [];
  }
  const document = withoutExtensions(value as Record<string, unknown>);
  const { version } = document;
  if (typeof version === "number" && version !== VERSION) {
    // With another version nothing else that could be said would help.
    const hint = version > VERSION ? "a newer tsvm wrote or reads it" : undefined;
    problems.error(`version ${version}: this tsvm reads version ${VERSION}`, tree.at(["version"]), hint);
    return [];
  }
  const vms = Object.hasOwn(document, "vms")
    ? readSeveral(document, tree, problems)
    : readOne(document, tree, problems);
  checkDependencies(vms, problems);
  return vms.map(({ vm, name, path }) => toDefinition(name, vm, { path, tree, problems }));
}

/** A VM of the file, with the path at which it stands. */
export interface ReadVm {
  readonly name: string;
  readonly vm: NativeVm;
  readonly path: readonly PropertyKey[];
  readonly tree: Tree;
}

function readSeveral(document: Record<string, unknown>, tree: Tree, problems: Problems): ReadVm[] {
  const { vms } = document;
  if (typeof vms === "object" && vms !== null) {
    for (const name of Object.keys(vms)) checkName(name, ["vms", name], tree, problems);
    if (Object.keys(vms).length === 0) problems.error("vms has no VM", tree.at(["vms"]));
  }
  const result = fileSchema.safeParse(document);
  if (!result.success) {
    explainIssues(result.error.issues, tree, problems);
    return [];
  }
  return Object.entries(result.data.vms).map(([name, vm]) => ({ name, vm, path: ["vms", name], tree }));
}

function readOne(document: Record<string, unknown>, tree: Tree, problems: Problems): ReadVm[] {
  const result = singleSchema.safeParse(document);
  if (!result.success) {
    explainIssues(result.error.issues, tree, problems);
    return [];
  }
  const { name: given, ...vm } = result.data;
  const name = given ?? nameOfFile(problems.source.path);
  if (!NAME.test(name)) {
    problems.error(
      `the name of the file makes no name for the VM: "${name}"`,
      {},
      `add name: to the file; ${NAME_RULE}`,
    );
  }
  return [{ name, vm, path: [], tree }];
}

function checkName(name: string, path: readonly PropertyKey[], tree: Tree, problems: Problems): void {
  if (!NAME.test(name)) problems.error(`"${name}" is no name for a VM`, tree.atKey(path), NAME_RULE);
}

/** `x-…` at the top is for whatever the author likes, such as anchors. */
function withoutExtensions(document: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(document).filter(([key]) => !key.startsWith("x-")));
}

/** `/srv/web.vm.yaml` is `web.vm`. */
function nameOfFile(path: string): string {
  const base = path.slice(path.lastIndexOf("/") + 1);
  return base.replace(/\.(ya?ml|json)$/i, "");
}
