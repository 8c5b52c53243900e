/** What there is to complete, read from the commands themselves. */
import type { Argument, Command, Option } from "commander";
import { DISK_WORDS } from "../choices.ts";

/** What a value is: a file, a VM, one of some words, a command of tsvm, or nothing that can be guessed. */
export type Value =
  | { readonly kind: "file" }
  /** `query`: arguments of `tsvm ps` that list those which the command can have. */
  | { readonly kind: "vm"; readonly query: string }
  | { readonly kind: "words"; readonly words: readonly string[] }
  /** A file, and after it words, each with a comma in front. */
  | { readonly kind: "disk"; readonly words: readonly string[] }
  | { readonly kind: "nothing" };

export interface CompletedOption {
  readonly short: string | undefined;
  readonly long: string | undefined;
  readonly description: string;
  /** Undefined for a flag. */
  readonly value: Value | undefined;
}

export interface CompletedCommand {
  /** `["image", "ls"]`; empty for tsvm itself. */
  readonly path: readonly string[];
  readonly description: string;
  readonly options: readonly CompletedOption[];
  readonly subcommands: readonly { readonly name: string; readonly description: string }[];
  /** Of all its arguments, whatever their order. */
  readonly values: readonly Value[];
}

/** tsvm itself and all its commands. */
export function completionTree(program: Command): CompletedCommand[] {
  const visit = (command: Command, path: readonly string[]): CompletedCommand[] => {
    const below = command.createHelp().visibleCommands(command);
    const subcommands = below.map((one) => ({ name: one.name(), description: one.description() }));
    return [
      {
        path,
        description: command.description(),
        options: [...command.options.filter(({ hidden }) => !hidden).map(toOption), HELP],
        subcommands,
        values: command.registeredArguments.map((argument) =>
          argument.name() === "command"
            ? { kind: "words", words: namesOf(command.parent!) }
            : argumentValue(argument, path.at(-1) ?? ""),
        ),
      },
      ...below.flatMap((one) => visit(one, [...path, one.name()])),
    ];
  };
  return visit(program, []);
}

function namesOf(group: Command): string[] {
  return group.commands.map((command) => command.name()).filter((name) => name !== "help");
}

const HELP: CompletedOption = {
  short: "-h",
  long: "--help",
  description: "display help for the command",
  value: undefined,
};

function toOption({
  short,
  long,
  description,
  argChoices,
  flags,
  required,
  optional,
}: Option): CompletedOption {
  const value = required || optional ? optionValue(flags, argChoices) : undefined;
  return { short, long, description, value };
}

function optionValue(flags: string, choices: readonly string[] | undefined): Value {
  if (choices !== undefined) return { kind: "words", words: choices };
  if (flags.includes("--disk ")) return { kind: "disk", words: DISK_WORDS };
  return /<(path|file)>/.test(flags) ? { kind: "file" } : { kind: "nothing" };
}

/** Which VMs a command can do something with. */
const QUERIES: Readonly<Record<string, string>> = {
  stop: "--quiet",
  kill: "--quiet",
  balloon: "--quiet --filter state=running",
  pause: "--quiet --filter state=running",
  resume: "--quiet --filter state=paused",
  console: "--quiet",
  stats: "--quiet",
};

function argumentValue(argument: Argument, command: string): Value {
  if (argument.argChoices !== undefined) return { kind: "words", words: argument.argChoices };
  switch (argument.name()) {
    case "name":
      return { kind: "vm", query: QUERIES[command] ?? "--all --quiet" };
    case "file":
    case "files":
    case "from":
    case "to":
    case "image":
    case "source":
    case "base":
      return { kind: "file" };
    default:
      return { kind: "nothing" };
  }
}
