import type { MachineDescription } from "../machine/description.ts";
import { formatPortForward } from "../net/port-forward.ts";

/** Those of all networks of a machine, in their text form. */
export function forwardedPorts({ networks = [] }: MachineDescription): string[] {
  return networks.flatMap(({ forwards = [] }) => forwards).map(formatPortForward);
}
