/** All commands but `boot` and `doctor`; what they do is loaded when one of them is run. */
import type { Command } from "commander";
import { addAgentCommands } from "./agent/register.ts";
import { addDefinitionCommands } from "./definition/register.ts";
import { addImageCommands } from "./image/register.ts";
import { addHelpCommand } from "./help-command.ts";
import { registerManagerCommands } from "./manager/register.ts";

/** `done` hears the exit status of commands that have one of their own; `guestCommand` is what stands behind `--`. */
export function addOtherCommands(
  program: Command,
  done: (status: number) => void,
  guestCommand: string[] | undefined,
): void {
  addDefinitionCommands(program, done);
  registerManagerCommands(program, done);
  addAgentCommands(program, done, guestCommand);
  addImageCommands(program, done);
  addHelpCommand(program);
}
