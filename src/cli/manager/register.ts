/** The commands of the manager. Their code is loaded when one of them runs. */
import { Argument, Option, type Command } from "commander";
import { listed, SHELLS } from "../choices.ts";
import { collect } from "../repeatable.ts";

type Done = (status: number) => void;

const load = (): Promise<typeof import("./commands.ts")> => import("./commands.ts");

export function registerManagerCommands(program: Command, done: Done): void {
  addFileCommands(program, done);
  addLifecycleCommands(program, done);
  addListings(program, done);
  addConsoles(program, done);
  program
    .command("completion")
    .addArgument(new Argument("<shell>", listed(SHELLS)).choices(SHELLS))
    .description("print the completion script for a shell")
    .addHelpText("after", COMPLETION_HELP)
    .action(async (shell: string) => {
      const { completionCommand } = await import("../completion/completion-command.ts");
      completionCommand(program, shell);
    });
}

const COMPLETION_HELP = `
Examples:
  source <(tsvm completion bash)                now; in ~/.bashrc for good
  tsvm completion zsh >"\${fpath[1]}/_tsvm"       for new shells
  tsvm completion fish >~/.config/fish/completions/tsvm.fish`;

function verb(program: Command, usage: string, description: string): Command {
  return program.command(usage).description(description).addOption(new Option("--debug").hideHelp());
}

function addFileCommands(program: Command, done: Done): void {
  verb(
    program,
    "up <file> [name...]",
    "define and start the VMs of a file, those first that others depend on",
  )
    .option("--recreate", "restart those that run by an older definition")
    .option("--lenient", "warn of what tsvm cannot carry out, instead of refusing it")
    .action(async (file: string, names: string[], flags: object) => {
      done(await (await load()).upCommand(file, names, flags));
    });
  addTimeout(
    verb(program, "down <file> [name...]", "stop and remove the VMs of a file; their disks stay"),
  ).action(async (file: string, names: string[], flags: object) => {
    done(await (await load()).downCommand(file, names, flags));
  });
}

function addLifecycleCommands(program: Command, done: Done): void {
  verb(program, "start [name...]", "start VMs in the background, with those that they depend on")
    .option("-a, --attach", "show the VM's console, as tsvm console does")
    .option("--autostart", "start what is to run when the host has come up, by its restart policy")
    .action(async (names: string[], flags: object) => {
      done(await (await load()).startCommand(names, flags));
    });
  addTimeout(verb(program, "stop <name...>", "have VMs shut down, and force off those that do not")).action(
    async (names: string[], flags: object) => {
      done(await (await load()).stopCommand(names, flags));
    },
  );
  addTimeout(verb(program, "restart <name...>", "stop VMs and start them again")).action(
    async (names: string[], flags: object) => {
      done(await (await load()).restartCommand(names, flags));
    },
  );
  verb(program, "kill <name...>", "end VMs at once, as if their power was cut").action(
    async (names: string[]) => {
      done(await (await load()).killCommand(names));
    },
  );
  verb(program, "pause <name...>", "have VMs stand still").action(async (names: string[]) => {
    done(await (await load()).pauseCommand(names));
  });
  verb(program, "resume <name...>", "have paused VMs go on").action(async (names: string[]) => {
    done(await (await load()).resumeCommand(names));
  });
  verb(
    program,
    "balloon <name> <size>",
    "have a running VM give up so much of its memory; 0: nothing",
  ).action(async (name: string, size: string) => {
    await (await load()).balloonCommand(name, size);
  });
  verb(program, "rm <name...>", "remove VMs that do not run, with their logs; their disks stay")
    .option("-f, --force", "end those that run first, at once; remove damaged ones, too")
    .action(async (names: string[], flags: object) => {
      done(await (await load()).rmCommand(names, flags));
    });
  verb(program, "wait <name...>", "wait until VMs have ended, and print their exit statuses").action(
    async (names: string[]) => {
      done(await (await load()).waitCommand(names));
    },
  );
}

function addListings(program: Command, done: Done): void {
  addFormats(verb(program, "ps", "list the VMs that run"))
    .option("-a, --all", "all VMs")
    .option("-q, --quiet", "print names only")
    .option(
      "--filter <filter>",
      "only those with state=STATE, name=PATTERN or label=KEY[=VALUE]; may be repeated",
      collect,
      [],
    )
    .action(async (flags: { filter: string[] }) => {
      const { psCommand } = await load();
      await psCommand(flags);
    });
  verb(program, "inspect <name...>", "print all that is known of VMs, as JSON")
    .option("--format <template>", "print this for each, with {{.field}} filled in")
    .action(async (names: string[], flags: object) => {
      const { inspectCommand } = await load();
      done(await inspectCommand(names, flags));
    });
  addFormats(verb(program, "stats [name...]", "show what running VMs use, once a second"))
    .option("--no-stream", "once")
    .action(async (names: string[], flags: { stream: boolean }) => {
      const { statsCommand } = await load();
      await statsCommand(names, flags);
    });
  verb(program, "metrics [name...]", "print what VMs use and do, in Prometheus' text format").action(
    async (names: string[]) => {
      await (await load()).metricsCommand(names);
    },
  );
  addFormats(verb(program, "events [name...]", "show what happens to VMs, from now on"))
    .option("--since <time>", "from this time on: 10m ago, or 2026-01-31T12:00:00Z")
    .option("--no-follow", "only what has happened so far")
    .action(async (names: string[], flags: { follow: boolean }) => {
      const { eventsCommand } = await load();
      await eventsCommand(names, flags);
    });
}

function addConsoles(program: Command, done: Done): void {
  verb(program, "console <name>", "show and use the console of a running VM; Ctrl-A x detaches")
    .option("--read-only", "only look")
    .option("--no-scrollback", "without what it has shown before")
    .action(async (name: string, flags: { scrollback: boolean }) => {
      const { consoleCommand } = await load();
      done(await consoleCommand(name, flags));
    });
  verb(program, "logs <name>", "print what a VM has written to its console")
    .option("-f, --follow", "go on until it ends")
    .option("-n, --tail <lines>", "only the last lines")
    .option("--since <time>", "from this time on: 10m ago, or 2026-01-31T12:00:00Z")
    .option("--until <time>", "up to this time")
    .option("-t, --timestamps", "with the time of each line")
    .option("--no-events", "without what the monitor says (on stderr)")
    .option("--json", "one JSON object for each line")
    .action(async (name: string, flags: { events: boolean }) => {
      const { logsCommand } = await load();
      await logsCommand(name, flags);
    });
}

function addTimeout(command: Command): Command {
  return command.option(
    "-t, --timeout <time>",
    "how long a guest may take to shut down (default: by its definition, 30s)",
  );
}

function addFormats(command: Command): Command {
  return command
    .option("--json", "print JSON")
    .option("--format <template>", "print this for each, with {{.field}} filled in; json or table, too");
}
