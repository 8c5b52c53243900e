#!/usr/bin/env node
/** Entry point of `tsvm`: commands are loaded only when they are asked for. */
import { Command, CommanderError, Option } from "commander";
import { warmUpWorkers } from "../machine/worker-pool.ts";
import { version } from "../version.ts";
import { CONSOLES, HUGE_PAGES } from "./choices.ts";
import { applyStyle } from "./command-style.ts";
import { formatError } from "./errors.ts";
import { ExitCode } from "./exit-codes.ts";
import { collect } from "./repeatable.ts";

const BOOT_EXAMPLES = `
Examples:
  tsvm boot                          a shell in the bundled Linux (Ctrl-A x leaves)
  tsvm boot -- uname -a              run a command: its output, its status
  tsvm boot -m 1G -c 2 disk.img      boot the system on a disk image
  tsvm boot bzImage -i initrd.img    boot a kernel of your own
  tsvm boot web.yaml                 boot what a definition file describes`;

const { own, guestCommand } = splitArguments(process.argv.slice(2));
// A thread takes longer to start than everything else here: have it start while the rest loads.
if (own[0] === "boot" && !["--help", "-h", "--detach"].some((flag) => own.includes(flag))) warmUpWorkers(1);

void main();

async function main(): Promise<void> {
  const status = await run();
  // Where koffi cannot be loaded, which run() has told then, Node ends by itself.
  process.exitCode = status;
  const exit = await import("./exit.ts").catch(() => undefined);
  await exit?.exitAtOnce(status);
}

/** Runs the command; the result is the exit status. */
async function run(): Promise<number> {
  let status: number = ExitCode.Ok;
  const done = (commandStatus: number): void => {
    status = commandStatus;
  };
  const program = buildProgram(done);
  try {
    // A guest that is to boot need not wait for commands that it has nothing to do with.
    if (own[0] !== "boot")
      (await import("./other-commands.ts")).addOtherCommands(program, done, guestCommand);
    applyStyle(program);
    await program.parseAsync(own, { from: "user" });
    return status;
  } catch (error) {
    // Help and version come this way too; what is an error has been printed by commander.
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.Ok : ExitCode.Usage;
    process.stderr.write(formatError(error, own.includes("--debug")));
    return (error as { code?: unknown }).code === "ERR_USAGE" ? ExitCode.Usage : ExitCode.Failure;
  }
}

function buildProgram(done: (status: number) => void): Command {
  const program = new Command("tsvm")
    .description("boots Linux guests on KVM, and keeps them in the background")
    .version(version());

  program
    .command("boot [file]")
    .description("boot a kernel, a disk image or a definition file; without FILE, the bundled Linux")
    .usage("[options] [FILE] [-- COMMAND...]")
    .option(
      "-k, --kernel <path>",
      "kernel: bzImage or ELF vmlinux, or bundled (default: the disk's own, else bundled)",
    )
    .option("-e, --entry <name>", "which entry of the disk's boot menu: its title, id or kernel")
    .option("-i, --initrd <path>", "initial RAM disk")
    .option(
      "-d, --disk <path>",
      "one more disk, may be repeated: PATH[,PROPERTY]..., for example a.img,ro or a.img,format=raw,iops=500",
      collect,
      [],
    )
    .option(
      "--net <kind>",
      "a network: user, tap=NAME or none (default), may be repeated: KIND[,mac=MAC][,mtu=N][,bps=SIZE]...",
      collect,
      [],
    )
    .option(
      "-p, --publish <ports>",
      "a port of the host that leads to the guest, may be repeated: [ADDRESS:]HOST:GUEST[/udp]",
      collect,
      [],
    )
    .option(
      "--vsock <path>",
      "a vsock device, and the unix socket of the host that leads into the guest: PATH[,cid=N]",
    )
    .option("--root <device>", "the guest's root, for example /dev/vda2 (default: from the partition table)")
    .option("-a, --append <text>", "add to the kernel command line", collect, [])
    .option("-c, --cpus <n>", "number of virtual processors (default: 1)")
    .option("-m, --memory <size>", "guest memory, for example 64M or 2G (default: 128M)")
    .addOption(
      new Option("--huge-pages <kind>", "back guest memory with huge pages (default: none)").choices(
        HUGE_PAGES,
      ),
    )
    .option(
      "--balloon <size>",
      "memory that the guest is to give up, or on or off: SIZE[,no-reporting][,no-deflate-on-oom][,stats=TIME]",
    )
    .addOption(
      new Option("--console <kind>", "console of a guest that boots by itself (virtio: hvc0)").choices(
        CONSOLES,
      ),
    )
    .option("--read-only", "the guest may not write to its disks")
    .option("--overlay", "what the guest writes to its disks is gone at the end")
    .option("--no-console", "neither show the guest's console nor type on it")
    .option("--no-acpi", "describe the machine to the kernel without ACPI tables")
    .option("-t, --timeout <time>", "end the machine after this time, for example 30s")
    .option(
      "--shutdown-timeout <time>",
      "after SIGINT, SIGTERM or SIGHUP: press the power button and wait this long (default: 30s)",
    )
    .option("--detach", "run it in the background, and print its name; see tsvm ps, console, logs, stop")
    .option("--name <name>", "its name there")
    .option("--replace", "stop a VM of that name, and take its place")
    .option("--vm <name>", "which VM of a definition file with several")
    .option("--lenient", "of a definition file: go on without what tsvm lacks, with a warning")
    .option("--json", "print one JSON document about the run instead of the guest's output")
    .option("-v, --verbose", "show the kernel's messages and where the time went")
    .option("--debug", "show stack traces of errors")
    .addHelpText("after", BOOT_EXAMPLES)
    .action(async (file: string | undefined, options: Record<string, unknown>) => {
      const { bootCommand } = await import("./boot-command.ts");
      done(await bootCommand(file, options, guestCommand));
    });

  program
    .command("doctor")
    .description("say what this host can do, and how to mend what is missing")
    .option("--json", "print a JSON document")
    .action(async (options: { json?: boolean }) => {
      const { doctorCommand } = await import("./doctor-command.ts");
      done(doctorCommand(options));
    });
  return program;
}

/** Everything after the first `--` belongs to the guest, where there is one; elsewhere it is no option, whatever it looks like. */
function splitArguments(all: string[]): { own: string[]; guestCommand: string[] | undefined } {
  const at = all[0] === "image" ? -1 : all.indexOf("--");
  return at === -1
    ? { own: all, guestCommand: undefined }
    : { own: all.slice(0, at), guestCommand: all.slice(at + 1) };
}
