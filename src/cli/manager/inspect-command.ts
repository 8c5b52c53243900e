import type { VmDefinition } from "../../definition/definition.ts";
import { Manager } from "../../manager/manager.ts";
import { summarize, type VmSummary } from "../../manager/summary.ts";
import { print } from "../output.ts";
import { forEachVm, independent } from "./each.ts";
import { SUMMARY_FIELDS } from "./summary-fields.ts";
import { Template } from "./template.ts";

export interface InspectFlags {
  readonly format?: string;
}

interface Inspected extends VmSummary {
  readonly id: string;
  readonly definedAt: string;
  readonly directory: string;
  readonly log: string;
  readonly socket: string | null;
  readonly definition: VmDefinition;
}

const FIELDS = [...SUMMARY_FIELDS, "id", "definedAt", "directory", "log", "socket", "definition"];

/** A JSON array of all that is known, or one line for each by `--format`. */
export async function inspectCommand(names: readonly string[], { format }: InspectFlags): Promise<number> {
  const template = format === undefined || format === "json" ? undefined : new Template(format, FIELDS);
  const manager = new Manager();
  const found: Inspected[] = [];
  const steps = independent(names);
  const status = await forEachVm(steps, async (name) => {
    found.push(await inspect(manager, name));
    return undefined;
  });
  found.sort((a, b) => names.indexOf(a.name) - names.indexOf(b.name));
  // Not an empty list along with the errors.
  if (found.length === 0) return status;
  print(template === undefined ? `${JSON.stringify(found, null, 2)}\n` : template.render(found));
  return status;
}

async function inspect(manager: Manager, name: string): Promise<Inspected> {
  const vm = manager.store.get(name);
  manager.noticeLosses([vm]);
  const { id, definedAt, definition } = vm.readDefinition();
  const { socket } = vm.readRecord();
  const summary = await summarize(vm);
  return {
    ...summary!,
    id,
    definedAt: new Date(definedAt).toISOString(),
    directory: vm.directory,
    log: vm.logPath,
    socket: vm.isHeld ? (socket ?? null) : null,
    definition,
  };
}
