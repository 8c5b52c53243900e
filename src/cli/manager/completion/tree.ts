/** What there is to complete, read from the commands themselves. */
import type { Argument, Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;

/** What a value is: a file, a VM, one of some words, a command of tsvm, or nothing that can be guessed. */
export type Value =
  | { readonly kind: "file" }
  /** `query`: arguments of `tsvm ps` that list those which the command can have. */
  | { readonly kind: "vm"; readonly query: string }
  | { readonly kind: "words"; readonly words: readonly string[] }
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
    const subcommands = command.commands.map((one) => ({ name: one.name(), description: one.description() }));
    if (path.length === 0) subcommands.push({ name: "help", description: "display help for a command" });
    return [
      {
        path,
        description: command.description(),
        options: [...command.options.filter(({ hidden }) => !hidden).map(toOption), HELP],
        subcommands,
        values: command.registeredArguments.map((argument) => argumentValue(argument, path.at(-1) ?? "")),
      },
      ...command.commands.flatMap((one) => visit(one, [...path, one.name()])),
    ];
  };
  const names = program.commands.map((command) => command.name());
  return [...visit(program, []), helpCommand(names)];
}

const HELP: CompletedOption = {
  short: "-h",
  long: "--help",
  description: "display help for the command",
  value: undefined,
};

function helpCommand(words: readonly string[]): CompletedCommand {
  const values: Value[] = [{ kind: "words", words }];
  return { path: ["help"], description: "display help for a command", options: [], subcommands: [], values };
}

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
  return /<(path|file)>/.test(flags) ? { kind: "file" } : { kind: "nothing" };
}

/** Which VMs a command can do something with. */
const QUERIES: Readonly<Record<string, string>> = {
  stop: "--quiet",
  kill: "--quiet",
  pause: "--quiet --filter state=running",
  resume: "--quiet --filter state=paused",
  console: "--quiet",
  stats: "--quiet",
};

function argumentValue(argument: Argument, command: string): Value {
  switch (argument.name()) {
    case "name":
      return { kind: "vm", query: QUERIES[command] ?? "--all --quiet" };
    case "file":
    case "files":
    case "from":
    case "to":
    case "image":
      return { kind: "file" };
    case "shell":
      return { kind: "words", words: SHELLS };
    default:
      return { kind: "nothing" };
  }
}
