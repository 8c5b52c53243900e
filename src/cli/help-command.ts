/** `tsvm help [COMMAND...]`, and the same within a group of commands. */
import type { Command } from "commander";
import { didYouMean } from "../suggestion.ts";
import { UsageError } from "./errors.ts";

/** @param hidden Whether the help of `group` does not mention it. */
export function addHelpCommand(group: Command, { hidden = false } = {}): void {
  group
    .helpCommand(false)
    .command("help [command...]", { hidden })
    .description("display help for a command")
    .action((path: string[]) => {
      commandAt(group, path).help();
    });
}

/** Throws a UsageError for a command that there is not. */
export function commandAt(group: Command, path: readonly string[]): Command {
  let at = group;
  for (const [depth, name] of path.entries()) {
    const found = at.commands.find((command) => command.name() === name);
    if (found === undefined) {
      const names = at.commands.map((command) => command.name()).filter((one) => one !== "help");
      const above = path.slice(0, depth).join(" ");
      if (names.length === 0)
        throw new UsageError(`help: ${above} has no commands of its own`, `tsvm help ${above}`);
      throw new UsageError(
        `help: there is no command "${path.slice(0, depth + 1).join(" ")}"`,
        didYouMean(name, names) ?? `there are ${names.join(", ")}`,
      );
    }
    at = found;
  }
  return at;
}
