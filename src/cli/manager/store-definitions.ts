import { resolve } from "node:path";
import { ManagerError } from "../../manager/errors.ts";
import { VmStore } from "../../manager/store.ts";
import { print } from "../output.ts";

export interface StoreFlags {
  readonly lenient: boolean;
  /** VMs of these names that there are already get the new definition. */
  readonly replace: boolean;
}

/** Keeps the VMs of the files for the manager: all are looked at before the first is kept. The result is the exit status. */
export async function storeDefinitions(
  files: readonly string[],
  { lenient, replace }: StoreFlags,
): Promise<number> {
  const { formatProblems, loadDefinitions } = await import("../../definition/index.ts");
  const loaded = files.map((path) => loadDefinitions(path, { lenient }));
  const store = new VmStore();
  const sources = new Map<string, string>();
  for (const { path, definitions, warnings } of loaded) {
    if (warnings.length > 0) process.stderr.write(`${formatProblems(warnings)}\n`);
    for (const { name } of definitions) {
      const other = sources.get(name);
      if (other !== undefined) {
        throw new ManagerError(
          "ERR_VM_EXISTS",
          `${other} and ${path} both have a VM ${name}`,
          "rename one of them",
        );
      }
      sources.set(name, path);
    }
    store.checkDefinable(definitions, { replace });
  }
  for (const { path, definitions } of loaded) {
    const source = path === "-" ? undefined : resolve(path);
    for (const definition of definitions) {
      print(`${definition.name}: ${await store.define(definition, { source, replace })}\n`);
    }
  }
  return 0;
}
