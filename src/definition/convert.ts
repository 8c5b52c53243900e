/** From one format to another. */
import { identifyPath } from "../boot/file-kind.ts";
import { TsvmError } from "../errors.ts";
import type { DiskDescription, MachineDescription } from "../machine/description.ts";
import type { VmDefinition } from "./definition.ts";
import { writeFirecracker } from "./firecracker/write.ts";
import { writeLibvirt } from "./libvirt/write.ts";
import { writeNative } from "./native/write.ts";
import type { Problems } from "./problems.ts";

export type TargetFormat = "yaml" | "json" | "libvirt" | "firecracker";

/**
 * The text of a file in another format. What that cannot say goes to `problems`; with errors there the result is of no use.
 *
 * @param directory Where the file will lie; undefined if that is not known.
 */
export async function convertDefinitions(
  definitions: readonly VmDefinition[],
  target: TargetFormat,
  directory: string | undefined,
  problems: Problems,
): Promise<string> {
  if (target === "yaml" || target === "json") return writeNative(definitions, target, directory);
  const [definition] = definitions;
  if (definition === undefined || definitions.length > 1) {
    throw new TypeError(`${definitions.length} VMs in a format for one`);
  }
  const explicit = { ...definition, machine: await spellOut(definition.machine, problems) };
  return target === "libvirt" ? writeLibvirt(explicit, problems) : writeFirecracker(explicit, problems);
}

/** What tsvm would find out from the disks, and others have to be told: image formats, and which device the root is. */
async function spellOut(machine: MachineDescription, problems: Problems): Promise<MachineDescription> {
  const { disks, kernel, rootDevice: given, append = "" } = machine;
  if (disks === undefined) return machine;
  const explicit = { ...machine, disks: disks.map((disk, index) => withFormat(disk, index, problems)) };
  const [first] = disks;
  if (kernel === undefined || given !== undefined || first === undefined || /(^|\s)root=/.test(append))
    return explicit;
  try {
    const { rootDevice } = await import("../disk/root-device.ts");
    return { ...explicit, rootDevice: await rootDevice(first.path) };
  } catch (error) {
    if (!(error instanceof TsvmError)) throw error;
    problems.error(
      error.message,
      { element: "rootDevice" },
      "add rootDevice: to the definition, for example /dev/vda2",
    );
    return explicit;
  }
}

function withFormat(disk: DiskDescription, index: number, problems: Problems): DiskDescription {
  if (disk.format !== undefined) return disk;
  try {
    return { ...disk, format: identifyPath(disk.path).kind === "qcow2" ? "qcow2" : "raw" };
  } catch (error) {
    if (!(error instanceof TsvmError)) throw error;
    // A block device is no regular file, and may well be raw.
    if (!disk.path.startsWith("/dev/")) {
      problems.warning(`${error.message}; its format is taken to be raw`, { element: `disks[${index}]` });
    }
    return { ...disk, format: "raw" };
  }
}
