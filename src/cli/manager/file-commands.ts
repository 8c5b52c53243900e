/** up, down: the VMs of a definition file. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { VmDefinition } from "../../definition/definition.ts";
import { printable } from "../../definition/problem.ts";
import { ManagerError } from "../../manager/errors.ts";
import { exitText } from "../../manager/exit-text.ts";
import { Manager } from "../../manager/manager.ts";
import { reversed } from "../../manager/order.ts";
import { UsageError } from "../errors.ts";
import { ExitCode } from "../exit-codes.ts";
import { forEachVm, note } from "./each.ts";
import { startVm } from "./start-vm.ts";
import { stopLimit, type StopFlags } from "./stop-limit.ts";

interface LoadFlags {
  readonly lenient?: boolean;
}

export interface UpFlags extends LoadFlags {
  readonly recreate?: boolean;
}

/**
 * Defines and starts the VMs of a file, or those of them that are named with all that they depend on. One that runs by an older
 * definition goes on, but for `--recreate`.
 */
export async function upCommand(file: string, names: readonly string[], flags: UpFlags): Promise<number> {
  const { definitions, source } = await load(file, flags);
  const manager = new Manager();
  const { store } = manager;
  for (const name of names) {
    if (!definitions.some((definition) => definition.name === name)) {
      throw new UsageError(
        `${file} has no VM "${name}"`,
        `it has ${definitions.map((one) => one.name).join(", ")}`,
      );
    }
  }
  refuseForeign(manager, definitions, source);
  for (const definition of definitions) await store.define(definition, { source, replace: true });
  const wanted = names.length > 0 ? names : definitions.map(({ name }) => name);
  const status = await forEachVm(manager.steps(wanted, { dependencies: true }), async (name) => {
    const outdated = await manager.isOutdated(name);
    if (outdated && flags.recreate === true) await manager.stop(name);
    const started = await startVm(manager, name);
    if (!started.already) {
      for (const warning of started.warnings) note(`${name}: ${warning}`);
      return `${name}: started`;
    }
    if (!outdated) return `${name}: running already`;
    note(`${name}: its definition has changed, which counts from its next start; --recreate restarts it now`);
    return `${name}: running already`;
  });
  for (const name of fromSource(manager, source)) {
    if (!definitions.some((definition) => definition.name === name)) {
      note(`${name} is not in ${file} any more; tsvm rm ${name} removes it`);
    }
  }
  return status;
}

/** Stops and removes the VMs that came from a file, which need not be there any more. Their disks stay. */
export async function downCommand(file: string, names: readonly string[], flags: StopFlags): Promise<number> {
  const manager = new Manager();
  const timeout = stopLimit(flags.timeout);
  const known = fromSource(manager, resolve(file));
  if (known.length === 0) {
    const none = `no VM comes from ${printable(resolve(file))}`;
    // Done already, or misspelt.
    if (existsSync(file)) {
      note(`${none}: nothing to do`);
      return ExitCode.Ok;
    }
    throw new ManagerError("ERR_NO_VM", none, "tsvm ps --all --format '{{.name}} {{.source}}'");
  }
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`"${unknown}" does not come from ${file}`, `what does: ${known.join(", ")}`);
  }
  const steps = manager.steps(names.length > 0 ? names : known, { dependencies: false });
  return forEachVm(reversed(steps), async (name) => {
    const exit = await manager.stop(name, { timeout });
    if (exit?.reason === "forced") note(`${name}: ${printable(exitText(exit))}`);
    await manager.remove(name);
    return `${name}: ${exit === undefined ? "removed" : "stopped and removed"}`;
  });
}

async function load(
  file: string,
  { lenient = false }: LoadFlags,
): Promise<{ definitions: readonly VmDefinition[]; source: string | undefined }> {
  const { formatProblems, loadDefinitions } = await import("../../definition/index.ts");
  const { definitions, warnings } = loadDefinitions(file, { lenient });
  if (warnings.length > 0) process.stderr.write(`${formatProblems(warnings)}\n`);
  return { definitions, source: file === "-" ? undefined : resolve(file) };
}

/** VMs of these names that came from elsewhere are somebody else's. */
function refuseForeign(
  manager: Manager,
  definitions: readonly VmDefinition[],
  source: string | undefined,
): void {
  for (const { name } of definitions) {
    const stored = manager.store.find(name)?.readDefinition();
    if (stored === undefined || stored.source === source) continue;
    throw new ManagerError(
      "ERR_VM_EXISTS",
      `there is a VM ${name} already, from ${stored.source ?? "standard input or a program"}`,
      `give one of them another name, or remove that one: tsvm rm ${name}`,
    );
  }
}

function fromSource(manager: Manager, source: string | undefined): string[] {
  return manager.store
    .all()
    .filter((vm) => {
      try {
        return source !== undefined && vm.readDefinition().source === source;
      } catch {
        // What cannot be read belongs to nobody.
        return false;
      }
    })
    .map(({ name }) => name);
}
