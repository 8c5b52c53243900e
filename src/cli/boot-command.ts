/** `tsvm boot`: options → machine description → machine; then its output and its exit status are ours. */
import { isatty } from "node:tty";
import { isSoftwareKvm } from "../kvm/host.ts";
import type { VmDefinition } from "../definition/definition.ts";
import type { MachineDescription } from "../machine/description.ts";
import { Machine } from "../machine/machine.ts";
import type { StopReport } from "../machine/report.ts";
import { MiB } from "../kvm/memory-map.ts";
import { bootFileKind } from "./boot-file.ts";
import { commandOf, parseConsole, sizeFlags, type BootFlags } from "./boot-flags.ts";
import { explain, exitStatus } from "./boot-outcome.ts";
import { UsageError, usageErrorOf } from "./errors.ts";
import { Frontend } from "./frontend.ts";
import { jsonReport, timelineText } from "./boot-report.ts";
import { networksOf } from "./network-values.ts";
import { print } from "./output.ts";
import { parseDisk, parseDuration } from "./values.ts";
import { parseVsock } from "./vsock-value.ts";

/** ms. */
const DEFAULT_SHUTDOWN_TIMEOUT = 30_000;

/** Runs the command; the result is the exit status. */
export async function bootCommand(
  file: string | undefined,
  options: Record<string, unknown>,
  guestCommand: string[] | undefined,
): Promise<number> {
  const flags = options as unknown as BootFlags;
  const timeout = flags.timeout === undefined ? undefined : parseDuration("--timeout", flags.timeout);
  const shutdownFlag =
    flags.shutdownTimeout === undefined
      ? undefined
      : parseDuration("--shutdown-timeout", flags.shutdownTimeout);
  // isatty() instead of process.stdin.isTTY: making those streams can wait until the guest runs.
  const terminal =
    isatty(0) && isatty(1) && flags.json !== true && flags.console !== false && flags.detach !== true;
  if (flags.name !== undefined && flags.detach !== true)
    throw new UsageError("--name is for VMs in the background", "add --detach");
  if (flags.replace === true && flags.detach !== true)
    throw new UsageError("--replace is for VMs in the background", "add --detach");
  let description: MachineDescription;
  let definition: VmDefinition | undefined;
  let shutdownTimeout = shutdownFlag ?? DEFAULT_SHUTDOWN_TIMEOUT;
  const defined = file !== undefined && bootFileKind(file) === "definition";
  const refused = (error: unknown): never => {
    throw defined ? error : usageErrorOf(error);
  };
  if (defined) {
    const { describeDefinition } = await import("./definition/boot-definition.ts");
    const described = describeDefinition(file, flags, guestCommand, terminal);
    description = described.machine;
    definition = described.definition;
    shutdownTimeout = shutdownFlag ?? described.stopTimeout ?? shutdownTimeout;
  } else {
    description = describe(file, flags, guestCommand, terminal);
  }
  if (flags.detach === true) {
    const { bootDetached } = await import("./manager/commands.ts");
    return bootDetached({ description, definition, file, stopTimeout: shutdownTimeout }, flags).catch(
      refused,
    );
  }
  const frontend = new Frontend({
    mode:
      flags.json === true ? "capture" : flags.console === false ? "quiet" : terminal ? "terminal" : "stream",
    command: description.command !== undefined,
    shell: description.command === undefined && description.root === "bundled",
    verbose: flags.verbose === true,
    shutdownTimeout,
  });
  const machine = await Machine.boot(description, { windowSize: frontend.windowSize }).catch(refused);
  const warn = (text: string): unknown => process.stderr.write(`tsvm: ${text}\n`);
  machine.warnings.forEach(warn);
  machine.on("warning", warn);
  tellBootEntry(machine, flags.verbose === true);
  const stopTimer = timeout === undefined ? undefined : setTimeout(() => frontend.timeOut(), timeout);
  let report: StopReport;
  try {
    report = await frontend.run(machine);
  } finally {
    clearTimeout(stopTimer);
    // Of no effect on one that has ended; a machine must not outlive a failure of ours.
    await machine.stop();
  }
  const status = exitStatus(report, frontend);
  if (flags.json === true) {
    print(jsonReport(report, { status, captured: frontend.captured, commandLine: machine.commandLine }));
  } else {
    explain(report, frontend, { timeout, shutdown: shutdownTimeout }, flags.debug === true);
    if (flags.verbose === true) process.stderr.write(timelineText(report, machine.commandLine));
  }
  return status;
}

/** What was found on the disk, for those who want to know, and a warning for those who will wait. */
function tellBootEntry({ bootEntry }: Machine, verbose: boolean): void {
  if (bootEntry === undefined) return;
  const say = (text: string): boolean => process.stderr.write(`tsvm: ${text}\n`);
  if (verbose) {
    say(`booting "${bootEntry.title}" of ${bootEntry.source.path}: ${bootEntry.kernel.path}`);
    for (const note of bootEntry.notes) say(note);
  }
  if (isSoftwareKvm()) {
    say(
      "this host has a software KVM, on which a distribution's kernel takes many minutes or stops at an instruction;\n" +
        "  → --kernel bundled boots the disk with tsvm's own kernel",
    );
  }
}

/** Flags as a plain description. Throws UsageError. */
export function describe(
  file: string | undefined,
  flags: BootFlags,
  guestCommand: string[] | undefined,
  terminal: boolean,
): MachineDescription {
  if (flags.vm !== undefined)
    throw new UsageError("--vm: there is no definition file", "tsvm boot web.yaml --vm NAME");
  const disks = flags.disk.map(parseDisk);
  const description: MachineDescription = {
    cpus: 1,
    memory: 128 * MiB,
    ...sizeFlags(flags),
  };
  if (flags.kernel === "bundled") description.kernelSource = "bundled";
  else if (flags.kernel !== undefined) description.kernel = flags.kernel;
  if (flags.entry !== undefined) description.bootEntry = flags.entry;
  const fileIsDisk = file !== undefined && bootFileKind(file) === "disk";
  if (file !== undefined) {
    if (fileIsDisk) disks.unshift({ path: file });
    else if (flags.kernel === undefined) description.kernel = file;
    else throw new UsageError(`both ${file} and --kernel ${flags.kernel} are kernels`, "give one of them");
  }
  if (flags.overlay === true) for (const disk of disks) disk.overlay = true;
  if (flags.readOnly === true) for (const disk of disks) disk.readOnly = true;
  if (flags.initrd !== undefined) description.initrd = flags.initrd;
  if (flags.root !== undefined) description.rootDevice = flags.root;
  if (flags.append.length > 0) description.append = flags.append.join(" ");
  if (disks.length > 0) description.disks = disks;
  if (flags.net.length + flags.publish.length > 0)
    description.networks = networksOf(flags.net, flags.publish);
  if (flags.vsock !== undefined) description.vsock = parseVsock(flags.vsock);
  // FILE is the system to boot; a --disk is one more disk, unless a kernel of the user's own boots from it.
  const ownKernel = description.kernel !== undefined;
  const ownInit = flags.initrd === undefined && (!ownKernel || guestCommand !== undefined);
  if (!fileIsDisk && ownInit) description.root = "bundled";
  if (!flags.acpi) description.acpi = false;
  if (typeof flags.console === "string") description.console = parseConsole(flags.console);
  if (guestCommand !== undefined) {
    description.command = commandOf(guestCommand, terminal, flags.initrd);
  }
  return description;
}
