/** `tsvm boot --detach`: what would run here runs in the background, as a VM of the manager. */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import type { MachineDescription } from "../../machine/description.ts";
import { Manager } from "../../manager/manager.ts";
import type { BootFlags } from "../boot-flags.ts";
import { UsageError } from "../errors.ts";
import { print } from "../output.ts";
import { note } from "./each.ts";

/** Prints the name of the VM when it runs. Nothing is kept of one that cannot be started. */
export async function bootDetached(
  description: MachineDescription,
  flags: BootFlags,
  stopTimeout: number,
): Promise<number> {
  const { name = `vm-${randomBytes(3).toString("hex")}`, json, timeout } = flags;
  if (json === true || timeout !== undefined) {
    throw new UsageError(`--${json === true ? "json" : "timeout"} and --detach do not go together`);
  }
  const manager = new Manager();
  const definition = { kind: "vm", name, machine: absolute({ ...description, name }), stopTimeout } as const;
  const defined = await manager.store.define(definition);
  try {
    const started = await manager.start(name);
    if (started.already) note(`${name} is running already`);
    else for (const warning of started.warnings) note(warning);
  } catch (error) {
    if (defined === "defined") await manager.remove(name);
    throw error;
  }
  print(`${name}\n`);
  return 0;
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
