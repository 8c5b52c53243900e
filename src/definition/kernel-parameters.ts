/**
 * Other formats give the whole kernel command line; a machine adds console, reboot, panic and root parameters of its own. Here one
 * becomes the other, so that going there and back changes nothing.
 */
import type { DiskDescription, MachineDescription } from "../machine/description.ts";

/** What a machine puts first: COMMON_PARAMETERS of machine/resolve.ts. */
const OWN = "console=ttyS0 reboot=k panic=-1";
const ROOT = /(?:^| )root=([^ ]+)(?: (ro|rw)(?= |$))?/;

/** What of a whole command line a description says. */
export function splitCommandLine(
  commandLine: string,
  firstDisk: DiskDescription | undefined,
): Pick<MachineDescription, "append" | "rootDevice"> {
  let append = commandLine.trim();
  if (append === OWN || append.startsWith(`${OWN} `)) append = append.slice(OWN.length);
  const [text = "", rootDevice, access] = firstDisk === undefined ? [] : (ROOT.exec(append) ?? []);
  // Within quotes it may be part of something else; twice does no harm.
  if (rootDevice !== undefined && !append.includes('"')) {
    const usual = firstDisk?.readOnly === true ? "ro" : "rw";
    const others = access === undefined || access === usual ? "" : ` ${access}`;
    append = append.replace(text, () => others);
  }
  append = append.trim();
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
  const words = [OWN];
  const [disk] = disks;
  if (withRoot && disk !== undefined && rootDevice !== undefined) {
    words.push(`root=${rootDevice}`, disk.readOnly === true ? "ro" : "rw");
  }
  if (append !== undefined) words.push(append);
  return words.join(" ");
}
