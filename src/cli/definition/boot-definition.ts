/** `tsvm boot FILE` with a definition file: the VM that it describes, and what the flags change. docs/cli.md. */
import { formatProblems, loadDefinitions, type VmDefinition } from "../../definition/index.ts";
import type { MachineDescription } from "../../machine/description.ts";
import { commandOf, parseConsole, sizeFlags, terminalOf, type BootFlags } from "../boot-flags.ts";
import { addForwards, networksOf } from "../network-values.ts";
import { parseDisk } from "../values.ts";
import { parseVsock } from "../vsock-value.ts";
import { selectVm } from "./select-vm.ts";

export interface DescribedVm {
  readonly machine: MachineDescription;
  /** As the file has it. */
  readonly definition: VmDefinition;
  /** ms. */
  readonly stopTimeout: number | undefined;
}

/** Prints the warnings about the file. Throws DefinitionError and UsageError. */
export function describeDefinition(
  path: string,
  flags: BootFlags,
  guestCommand: string[] | undefined,
  terminal: boolean,
): DescribedVm {
  const { definitions, warnings } = loadDefinitions(path, { lenient: flags.lenient === true });
  if (warnings.length > 0) process.stderr.write(`${formatProblems(warnings)}\n`);
  const definition = selectVm(path, definitions, flags.vm);
  const { name, machine, stopTimeout, dependsOn = [] } = definition;
  if (dependsOn.length > 0) {
    process.stderr.write(
      `tsvm: ${name} depends on ${dependsOn.join(", ")}: tsvm boot starts ${name} alone\n`,
    );
  }
  return { machine: changeMachine(machine, flags, guestCommand, terminal), definition, stopTimeout };
}

/** A flag says more than the file; disks and kernel parameters are added to those in the file. Throws UsageError. */
export function changeMachine(
  machine: MachineDescription,
  flags: BootFlags,
  guestCommand: string[] | undefined,
  terminal: boolean,
): MachineDescription {
  const changed: MachineDescription = { ...machine, ...sizeFlags(flags) };
  if (flags.kernel === "bundled") {
    delete changed.kernel;
    changed.kernelSource = "bundled";
  } else if (flags.kernel !== undefined) {
    delete changed.kernelSource;
    changed.kernel = flags.kernel;
  }
  if (flags.entry !== undefined) changed.bootEntry = flags.entry;
  if (flags.initrd !== undefined) changed.initrd = flags.initrd;
  if (flags.root !== undefined) changed.rootDevice = flags.root;
  if (flags.append.length > 0) changed.append = [machine.append ?? [], ...flags.append].flat().join(" ");
  const disks = [...(machine.disks ?? []), ...flags.disk.map(parseDisk)].map((disk) => ({
    ...disk,
    ...(flags.overlay === true ? { overlay: true } : {}),
    ...(flags.readOnly === true ? { readOnly: true } : {}),
  }));
  // The first disk of the file is the root, not one that is added to a machine without.
  if ((machine.disks ?? []).length === 0 && !hasOwnSystem(changed)) changed.root = "bundled";
  if (disks.length > 0) changed.disks = disks;
  if (flags.net.length + flags.publish.length > 0) {
    // --net takes the place of the file's networks, --publish alone adds to them.
    changed.networks =
      flags.net.length > 0
        ? networksOf(flags.net, flags.publish)
        : addForwards(machine.networks ?? [], flags.publish);
  }
  if (flags.vsock !== undefined) changed.vsock = { ...machine.vsock, ...parseVsock(flags.vsock) };
  if (typeof flags.console === "string") changed.console = parseConsole(flags.console);
  if (!flags.acpi) changed.acpi = false;
  const { command } = machine;
  if (guestCommand !== undefined) {
    const { env, ...others } = commandOf(guestCommand, terminal, changed.initrd);
    // Environment and directory are the machine's, whatever runs in it.
    changed.command = { ...command, ...others, env: { ...env, ...command?.env } };
  } else if (command !== undefined && command.terminal === undefined) {
    const { env, ...others } = terminalOf(terminal);
    changed.command = { ...command, ...others, env: { ...env, ...command.env } };
  }
  return changed;
}

/** Whether something else than tsvm's init starts. */
function hasOwnSystem({ kernel, initrd, command }: MachineDescription): boolean {
  return initrd !== undefined || (kernel !== undefined && command === undefined);
}
