/** What a VM in the background gets for `tsvm exec` and `tsvm cp`: a vsock device, and the agent where tsvm's init can start it. */
import { join } from "node:path";
import { MAX_DISKS, type MachineDescription } from "../machine/description.ts";
import { fallbackRuntime } from "./paths.ts";

/**
 * The socket that leads into the guest of the VM with this id. Not in the runtime directory, which may go with its user's session:
 * the control socket comes back then, but this one is the machine's for its life.
 */
export function vsockPath(state: string, id: string): string {
  return join(fallbackRuntime(state), `${id}.vsock`);
}

/** The machine with a way into its guest, unless its definition does not want one, or it is full. */
export function withAgent(machine: MachineDescription, path: string): MachineDescription {
  const { agent = true, vsock, disks = [], networks = [], balloon } = machine;
  // A bundled root is one more.
  const devices = disks.length + networks.length + 1 + (balloon === undefined || balloon === false ? 0 : 1);
  if (vsock === undefined && (agent === false || devices >= MAX_DISKS)) return machine;
  return { ...machine, agent, vsock: { path, ...vsock } };
}
