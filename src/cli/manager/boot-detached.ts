/** `tsvm boot --detach`: what would run here runs in the background, as a VM of the manager. */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import type { VmDefinition } from "../../definition/definition.ts";
import { printable } from "../../definition/problem.ts";
import type { MachineDescription } from "../../machine/description.ts";
import { ManagerError } from "../../manager/errors.ts";
import { exitText } from "../../manager/exit-text.ts";
import { Manager } from "../../manager/manager.ts";
import type { BootFlags } from "../boot-flags.ts";
import { UsageError } from "../errors.ts";
import { print } from "../output.ts";
import { note } from "./each.ts";

export interface DetachedBoot {
  readonly description: MachineDescription;
  /** Where it comes from a definition file: what that says of the VM. */
  readonly definition: VmDefinition | undefined;
  readonly file: string | undefined;
  /** ms. */
  readonly stopTimeout: number;
}

/** Prints the name of the VM when it runs. Nothing is kept of a new one that cannot be started. */
export async function bootDetached(
  { description, definition: given, file, stopTimeout }: DetachedBoot,
  flags: BootFlags,
): Promise<number> {
  const { json, timeout, replace = false } = flags;
  const name = flags.name ?? given?.name ?? `vm-${randomBytes(3).toString("hex")}`;
  if (json === true || timeout !== undefined) {
    throw new UsageError(`--${json === true ? "json" : "timeout"} and --detach do not go together`);
  }
  const manager = new Manager();
  const definition: VmDefinition = {
    ...(given ?? { kind: "vm" }),
    // It starts alone, here and whenever it is started again.
    ...(given?.dependsOn === undefined ? {} : { dependsOn: [] }),
    name,
    machine: absolute({ ...description, name }),
    stopTimeout,
  };
  const source = given === undefined || file === undefined ? undefined : resolve(file);
  await makeRoom(manager, name, replace);
  const defined = await manager.store.define(definition, { source, replace });
  try {
    const started = await manager.start(name);
    if (started.already) throw alreadyRunning(name);
    for (const warning of started.warnings) note(warning);
  } catch (error) {
    if (defined === "defined") await manager.remove(name);
    throw error;
  }
  print(`${name}\n`);
  return 0;
}

/** Stops a VM of that name where it is to be replaced, and refuses to meddle with it otherwise. */
async function makeRoom(manager: Manager, name: string, replace: boolean): Promise<void> {
  const vm = manager.store.find(name);
  if (vm?.isHeld !== true) return;
  if (!replace) throw alreadyRunning(name);
  const exit = await manager.stop(name);
  if (exit?.reason === "forced") note(`${name}: ${printable(exitText(exit))}`);
}

function alreadyRunning(name: string): ManagerError {
  return new ManagerError(
    "ERR_VM_RUNNING",
    `${name} is running already`,
    `--name gives this one another name, --replace stops that one and takes its place`,
  );
}

/** A monitor works in another directory. */
function absolute(description: MachineDescription): MachineDescription {
  const { kernel, initrd, disks, vsock } = description;
  return {
    ...description,
    ...(kernel === undefined ? {} : { kernel: resolve(kernel) }),
    ...(initrd === undefined ? {} : { initrd: resolve(initrd) }),
    ...(disks === undefined ? {} : { disks: disks.map((disk) => ({ ...disk, path: resolve(disk.path) })) }),
    ...(vsock?.path === undefined ? {} : { vsock: { ...vsock, path: resolve(vsock.path) } }),
  };
}
