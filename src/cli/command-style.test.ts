import { Command, Option } from "commander";
import { describe, expect, it } from "vitest";
import { applyStyle, styledError } from "./command-style.ts";
import { addHelpCommand, commandAt } from "./help-command.ts";
import { UsageError } from "./errors.ts";

function program(): Command {
  const root = new Command("tsvm");
  const group = root.command("image").description("of images");
  group
    .command("create <new> <size>")
    .description(
      "make an image, with quite a long description that does not fit into one line of a narrow terminal",
    )
    .addOption(new Option("--with <thing>", "may be repeated").argParser((one: string) => [one]).default([]))
    .addOption(new Option("--count <n>", "how many").default(3));
  root.command("start");
  addHelpCommand(root);
  applyStyle(root);
  return root;
}

/** What is printed in a terminal of 80 columns. */
function helpText(command: Command): string {
  return command.configureOutput({ getOutHelpWidth: () => 80 }).helpInformation();
}

describe("help", () => {
  it("keeps within the width of the terminal, and shows no empty list", () => {
    const image = helpText(commandAt(program(), ["image"]));
    expect(Math.max(...image.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
    const create = helpText(commandAt(program(), ["image", "create"]));
    expect(create).toContain("may be repeated\n");
    expect(create).toContain("how many (default: 3)");
  });

  it("finds commands of any depth, and suggests what may be meant", () => {
    expect(commandAt(program(), ["image", "create"]).name()).toBe("create");
    const hint = (path: string[]): unknown => {
      try {
        return commandAt(program(), path);
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
        return (error as UsageError).hint;
      }
    };
    expect(hint(["strat"])).toBe("did you mean start?");
    expect(hint(["nosuch"])).toBe("there are image, start");
    expect(hint(["image", "craete"])).toBe("did you mean create?");
    expect(hint(["start", "x"])).toBe("tsvm help start");
  });
});

it.each([
  ["error: unknown option '--x'\n", "tsvm: unknown option '--x'\n  → more\n"],
  [
    "error: unknown option '--jsno'\n(Did you mean --json?)\n",
    "tsvm: unknown option '--jsno'\n  → did you mean --json?\n",
  ],
  [
    "error: option '-f, --format <format>' argument 'vdi' is invalid. Allowed choices are raw, qcow2.\n",
    'tsvm: --format: "vdi" is not one of raw, qcow2\n',
  ],
  [
    "error: command-argument value 'ksh' is invalid for argument 'shell'. Allowed choices are bash, zsh.\n",
    'tsvm: shell: "ksh" is not one of bash, zsh\n',
  ],
])("%j is told in our words", (theirs, ours) => {
  expect(styledError(theirs, "more")).toBe(ours);
});
