/** `tsvm exec` and `tsvm cp`: what is done inside a VM that runs in the background. */
import { Option, type Command } from "commander";
import { collect } from "../repeatable.ts";

type Done = (status: number) => void;

const EXEC_HELP = `
Examples:
  tsvm exec web -- uname -a                a command: its output, its status
  tsvm exec -it web -- sh                  a shell on a terminal (Ctrl-A x leaves)
  tsvm exec -i web -- tar x -C /srv <a.tar`;

const CP_HELP = `
Examples:
  tsvm cp site web:/srv/www                a directory into the guest
  tsvm cp site/. web:/srv/www              what is in it
  tsvm cp web:/var/log/messages .          a file out of it
A path of this host with a colon in it is written ./A:B.`;

/** `guestCommand` is what stands behind `--`. */
export function addAgentCommands(program: Command, done: Done, guestCommand: string[] | undefined): void {
  program
    .command("exec <name>")
    .description("run a command in a VM that runs in the background")
    .usage("[options] NAME -- COMMAND...")
    .option("-i, --interactive", "hand it what comes on our standard input")
    .option("-t, --tty", "run it on a terminal of its own")
    .option("-e, --env <name=value>", "set a variable of its environment; may be repeated", collect, [])
    .option("-w, --workdir <directory>", "its working directory (default: /)")
    .option("-u, --user <user>", "whose rights it gets: NAME or UID, with :GROUP if need be (default: root)")
    .option("--timeout <time>", "kill it after this time, for example 30s")
    .addOption(new Option("--debug").hideHelp())
    .addHelpText("after", EXEC_HELP)
    .action(async (name: string, flags: object) => {
      const { execCommand } = await import("./exec-command.ts");
      done(await execCommand(name, guestCommand, flags));
    });
  program
    .command("cp <source> <destination>")
    .description("copy files into a VM that runs in the background, or out of it")
    .usage("[options] PATH NAME:PATH | NAME:PATH PATH")
    .option("-L, --follow", "copy what a symbolic link leads to, if one is named")
    .option("-u, --owner <user>", "into a guest: whom the copy belongs to (default: root)")
    .option("-p, --parents", "into a guest: make the directories above, too")
    .addOption(new Option("--debug").hideHelp())
    .addHelpText("after", CP_HELP)
    .action(async (source: string, destination: string, flags: object) => {
      const { cpCommand } = await import("./cp-command.ts");
      done(await cpCommand(source, destination, flags));
    });
}
