/**
 * Other formats give the whole kernel command line; a machine adds console, reboot, panic and root parameters of its own. Here one
 * becomes the other, so that going there and back changes nothing.
 */
import type { DiskDescription, MachineDescription } from "../machine/description.ts";

/** What a machine puts first: COMMON_PARAMETERS of machine/resolve.ts. */
const OWN = ["console=ttyS0", "reboot=k", "panic=-1"];

/** What of a whole command line a description says. */
export function splitCommandLine(
  commandLine: string,
  firstDisk: DiskDescription | undefined,
): Pick<MachineDescription, "append" | "rootDevice"> {
  const words = commandLine.split(/\s+/).filter((word) => word !== "");
  if (OWN.every((word, index) => words[index] === word)) words.splice(0, OWN.length);
  let rootDevice: string | undefined;
  const at = firstDisk === undefined ? -1 : words.findIndex((word) => word.startsWith("root="));
  if (at !== -1) {
    rootDevice = words[at]!.slice("root=".length);
    const access = firstDisk?.readOnly === true ? "ro" : "rw";
    words.splice(at, words[at + 1] === access ? 2 : 1);
  }
  const append = words.join(" ");
  return { ...(append === "" ? {} : { append }), ...(rootDevice === undefined ? {} : { rootDevice }) };
}

/**
 * The whole command line that a machine with a kernel of its own would boot with, as far as its description says it.
 *
 * @param withRoot Whether the root device is part of it.
 */
export function joinCommandLine(
  { append, rootDevice, disks = [] }: MachineDescription,
  withRoot = true,
): string {
  const words = [...OWN];
  const [disk] = disks;
  if (withRoot && disk !== undefined && rootDevice !== undefined) {
    words.push(`root=${rootDevice}`, disk.readOnly === true ? "ro" : "rw");
  }
  if (append !== undefined) words.push(append);
  return words.join(" ");
}
