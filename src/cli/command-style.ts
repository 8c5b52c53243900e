/** How commander's help and errors look: within the terminal's width, and as all other messages of tsvm. */
import { Help, type Command, type Option } from "commander";
import { print } from "./output.ts";

/** Columns left for descriptions in narrow terminals; with fewer, lines are as long as they are. */
const LEAST_DESCRIPTION = 20;

/** For `command` and all below it, when they are complete. */
export function applyStyle(command: Command): void {
  const name = fullName(command);
  command
    .exitOverride()
    .configureHelp({ minWidthToWrap: LEAST_DESCRIPTION, optionDescription })
    .configureOutput({
      writeOut: print,
      outputError: (text, write) => {
        write(styledError(text, `${name} --help tells more`));
      },
    });
  for (const one of command.commands) applyStyle(one);
}

/** Commander's `error: unknown option '--x'`, perhaps with `(Did you mean --y?)` below, as message and hint. */
export function styledError(text: string, hint: string): string {
  const [first = "", second = ""] = text.trim().split("\n");
  const message = first.replace(/^error: /, "");
  // "option '-f, --format <format>' argument 'vdi' is invalid. Allowed choices are raw, qcow2."
  const choice = /^option '(?:-\w, )?(--[\w-]+).*?' argument '(.*)' is invalid\. Allowed choices are (.*)\.$/;
  const [, option, value, choices] = choice.exec(message) ?? [];
  if (option !== undefined) return `tsvm: ${option}: "${value!}" is not one of ${choices!}\n`;
  // "command-argument value 'ksh' is invalid for argument 'shell'. Allowed choices are bash, zsh, fish."
  const [, word, argument, words] =
    /^command-argument value '(.*)' is invalid for argument '(.*)'\. Allowed choices are (.*)\.$/.exec(
      message,
    ) ?? [];
  if (word !== undefined) return `tsvm: ${argument!}: "${word}" is not one of ${words!}\n`;
  const meant = /^\(Did you mean (.*)\?\)$/.exec(second)?.[1];
  return `tsvm: ${message}\n  → ${meant === undefined ? hint : `did you mean ${meant}?`}\n`;
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

/** Without the empty list that an option begins with which may be repeated. */
function optionDescription(this: Help, option: Option): string {
  const shown = Array.isArray(option.defaultValue)
    ? (Object.create(option, { defaultValue: { value: undefined } }) as Option)
    : option;
  return Help.prototype.optionDescription.call(this, shown);
}
