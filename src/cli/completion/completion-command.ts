import type { Command } from "commander";
import { UsageError } from "../errors.ts";
import { print } from "../output.ts";
import { SHELLS } from "../choices.ts";
import { bashCompletion } from "./bash.ts";
import { fishCompletion } from "./fish.ts";
import { completionTree, type CompletedCommand } from "./tree.ts";
import { zshCompletion } from "./zsh.ts";

const SCRIPTS: Record<(typeof SHELLS)[number], (tree: readonly CompletedCommand[]) => string> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

/** Prints the script for a shell. */
export function completionCommand(program: Command, shell: string): void {
  const known = SHELLS.find((name) => name === shell);
  if (known === undefined) {
    throw new UsageError(`completion: "${shell}" is not one of ${SHELLS.join(", ")}`);
  }
  print(SCRIPTS[known](completionTree(program)));
}
