/** `tsvm boot`: options → machine description → machine; then its output and its exit status are ours. */
import { statSync } from "node:fs";
import { isatty } from "node:tty";
import { identifyPath } from "../boot/file-kind.ts";
import { isSoftwareKvm } from "../kvm/host.ts";
import type { MachineDescription } from "../machine/description.ts";
import { Machine } from "../machine/machine.ts";
import type { StopReport } from "../machine/report.ts";
import { explain, exitStatus } from "./boot-outcome.ts";
import { UsageError } from "./errors.ts";
import { Frontend } from "./frontend.ts";
import { jsonReport, timelineText } from "./boot-report.ts";
import { print } from "./output.ts";
import { parseCount, parseDisk, parseDuration, parseSize } from "./values.ts";

/** What commander hands over; `--no-console` makes `console` false. */
interface BootFlags {
  kernel?: string;
  entry?: string;
  initrd?: string;
  root?: string;
  disk: string[];
  append: string[];
  cpus: string;
  memory: string;
  hugePages: string;
  console?: string | boolean;
  readOnly?: boolean;
  overlay?: boolean;
  acpi: boolean;
  timeout?: string;
  shutdownTimeout: string;
  json?: boolean;
  verbose?: boolean;
  debug?: boolean;
}

/** Runs the command; the result is the exit status. */
export async function bootCommand(
  file: string | undefined,
  options: Record<string, unknown>,
  guestCommand: string[] | undefined,
): Promise<number> {
  const flags = options as unknown as BootFlags;
  const timeout = flags.timeout === undefined ? undefined : parseDuration("--timeout", flags.timeout);
  const shutdownTimeout = parseDuration("--shutdown-timeout", flags.shutdownTimeout);
  // isatty() instead of process.stdin.isTTY: making those streams can wait until the guest runs.
  const terminal = isatty(0) && isatty(1) && flags.json !== true && flags.console !== false;
  const description = describe(file, flags, guestCommand, terminal);
  const frontend = new Frontend({
    mode:
      flags.json === true ? "capture" : flags.console === false ? "quiet" : terminal ? "terminal" : "stream",
    command: description.command !== undefined,
    shell: description.command === undefined && description.root === "bundled",
    verbose: flags.verbose === true,
    shutdownTimeout,
  });
  const machine = await Machine.boot(description, { windowSize: frontend.windowSize });
  for (const warning of machine.warnings) process.stderr.write(`tsvm: ${warning}\n`);
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
  const disks = flags.disk.map(parseDisk);
  const description: MachineDescription = {
    cpus: parseCount("--cpus", flags.cpus),
    memory: parseSize("--memory", flags.memory),
    hugePages: parseHugePages(flags.hugePages),
  };
  if (flags.kernel === "bundled") description.kernelSource = "bundled";
  else if (flags.kernel !== undefined) description.kernel = flags.kernel;
  if (flags.entry !== undefined) description.bootEntry = flags.entry;
  const fileIsDisk = file !== undefined && isDiskImage(file);
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
  // FILE is the system to boot; a --disk is one more disk, unless a kernel of the user's own boots from it.
  const ownKernel = description.kernel !== undefined;
  const ownInit = flags.initrd === undefined && (!ownKernel || guestCommand !== undefined);
  if (!fileIsDisk && ownInit) description.root = "bundled";
  if (!flags.acpi) description.acpi = false;
  if (typeof flags.console === "string") description.console = parseConsole(flags.console);
  if (guestCommand !== undefined) {
    if (guestCommand.length === 0)
      throw new UsageError("no command after --", "leave out -- for an interactive shell");
    if (flags.initrd !== undefined) {
      throw new UsageError(
        "a command after -- needs tsvm's own init, which --initrd replaces",
        "give only one of them",
      );
    }
    const term = process.env.TERM;
    description.command = {
      argv: guestCommand,
      terminal,
      ...(terminal && term !== undefined ? { env: { TERM: term } } : {}),
    };
  }
  return description;
}

function isDiskImage(path: string): boolean {
  // A block device is never a kernel.
  return (
    statSync(path, { throwIfNoEntry: false })?.isBlockDevice() === true || identifyPath(path).role === "disk"
  );
}

function parseHugePages(text: string): "none" | "transparent" | "hugetlb" {
  if (text === "none" || text === "transparent" || text === "hugetlb") return text;
  throw new UsageError(`--huge-pages: "${text}" is not one of none, transparent, hugetlb`);
}

function parseConsole(text: string): "serial" | "virtio" {
  if (text === "serial" || text === "virtio") return text;
  throw new UsageError(`--console: "${text}" is not one of serial, virtio`);
}
