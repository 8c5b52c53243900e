/** start, stop, kill, restart, pause, resume, rm, wait. Each prints the names of the VMs that it has done something to. */
import { printable } from "../../definition/problem.ts";
import { ManagerError } from "../../manager/errors.ts";
import { exitText } from "../../manager/exit-text.ts";
import { Manager } from "../../manager/manager.ts";
import { reversed, type Step } from "../../manager/order.ts";
import { UsageError } from "../errors.ts";
import { consoleCommand } from "./console-command.ts";
import { logsCommand } from "./logs-command.ts";
import { forEachVm, independent, note } from "./each.ts";
import { startVm } from "./start-vm.ts";
import { stopLimit, type StopFlags } from "./stop-limit.ts";

export interface StartFlags {
  readonly attach?: boolean;
  readonly autostart?: boolean;
}

/** With those that they depend on. */
export async function startCommand(
  names: readonly string[],
  { attach, autostart }: StartFlags,
): Promise<number> {
  const manager = new Manager();
  if (autostart === true && names.length > 0) throw new UsageError("--autostart takes no names");
  if (autostart !== true && names.length === 0) throw new UsageError("which VM? (NAME, or --autostart)");
  if (attach === true && names.length !== 1) throw new UsageError("--attach takes one VM");
  const wanted = autostart === true ? manager.autostartNames() : names;
  const status = await forEachVm(withDependencies(manager, wanted), async (name) => {
    const started = await startVm(manager, name);
    if (started.already) note(`${name} is running already`);
    else for (const warning of started.warnings) note(`${name}: ${warning}`);
    // Its console follows.
    const attached = attach === true && name === names[0];
    return started.already || attached ? undefined : name;
  });
  if (attach !== true || status !== 0) return status;
  return attachTo(manager, names[0]!);
}

/** Its console, or where it has ended by now, all that it has shown. */
async function attachTo(manager: Manager, name: string): Promise<number> {
  try {
    return await consoleCommand(name, { scrollback: true });
  } catch (error) {
    if (!(error instanceof ManagerError && error.code === "ERR_VM_NOT_RUNNING")) throw error;
    const { startedAt = 0 } = manager.store.get(name).readRecord();
    await logsCommand(name, { since: new Date(startedAt).toISOString(), events: false });
    const exit = await manager.wait(name);
    note(`${name}: ${printable(exitText(exit))}`);
    return exit.status;
  }
}

/** Those that depend on others first. */
export async function stopCommand(names: readonly string[], { timeout }: StopFlags): Promise<number> {
  const manager = new Manager();
  const limit = stopLimit(timeout);
  return forEachVm(reversed(ordered(manager, names)), async (name) => {
    tellDependents(manager, name, names);
    const exit = await manager.stop(name, { timeout: limit });
    if (exit === undefined) note(`${name} is not running`);
    else if (exit.reason === "forced") note(`${name}: ${printable(exitText(exit))}`);
    return exit === undefined ? undefined : name;
  });
}

/** What needs it goes on without it: no error, but likely not what was meant. */
function tellDependents(manager: Manager, name: string, stopped: readonly string[]): void {
  const left = manager.runningDependents(name).filter((other) => !stopped.includes(other));
  if (left.length === 0) return;
  note(
    `${name}: ${left.join(", ")}, which ${left.length === 1 ? "depends" : "depend"} on it, still ${left.length === 1 ? "runs" : "run"}`,
  );
}

export async function restartCommand(names: readonly string[], { timeout }: StopFlags): Promise<number> {
  const manager = new Manager();
  const limit = stopLimit(timeout);
  return forEachVm(ordered(manager, names), async (name) => {
    await manager.stop(name, { timeout: limit });
    const started = await startVm(manager, name);
    if (!started.already) for (const warning of started.warnings) note(`${name}: ${warning}`);
    return name;
  });
}

export async function killCommand(names: readonly string[]): Promise<number> {
  const manager = new Manager();
  return forEachVm(independent(names), async (name) => {
    tellDependents(manager, name, names);
    await manager.kill(name);
    return name;
  });
}

export async function pauseCommand(names: readonly string[]): Promise<number> {
  const manager = new Manager();
  return forEachVm(independent(names), async (name) => {
    await manager.pause(name);
    return name;
  });
}

export async function resumeCommand(names: readonly string[]): Promise<number> {
  const manager = new Manager();
  return forEachVm(independent(names), async (name) => {
    await manager.resume(name);
    return name;
  });
}

export interface RmFlags {
  readonly force?: boolean;
}

export async function rmCommand(names: readonly string[], { force }: RmFlags): Promise<number> {
  const manager = new Manager();
  return forEachVm(independent(names), async (name) => {
    await manager.remove(name, { force: force === true });
    return name;
  });
}

/** Prints the exit statuses, in the order of the names, and on stderr what they mean. */
export async function waitCommand(names: readonly string[]): Promise<number> {
  const manager = new Manager();
  // One after the other: all must have ended in the end.
  const steps = independent(names).map(({ name }, at, all) => ({
    name,
    after: all.slice(0, at).map((one) => one.name),
  }));
  return forEachVm(steps, async (name) => {
    const exit = await manager.wait(name);
    note(`${name}: ${printable(exitText(exit))}`);
    return `${exit.status}`;
  });
}

/** By what depends on what, as far as it can be told: a name that is not known fails when its turn comes. */
function ordered(manager: Manager, names: readonly string[]): Step[] {
  return independent(names).flatMap((step) => {
    try {
      return manager.steps([step.name], { dependencies: false });
    } catch {
      return step;
    }
  });
}

/** Of several names, one that is not known keeps none of the others from starting. */
function withDependencies(manager: Manager, names: readonly string[]): Step[] {
  const steps = new Map<string, Step>();
  for (const own of independent(names)) {
    try {
      for (const step of manager.steps([own.name], { dependencies: true })) steps.set(step.name, step);
    } catch (error) {
      // Where it is alone, what is wrong with it is the error of the command.
      if (names.length === 1) throw error;
      steps.set(own.name, own);
    }
  }
  return [...steps.values()];
}
