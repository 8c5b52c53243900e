/** `tsvm define` and `tsvm convert`, whose code is loaded when they are asked for. */
import { Option, type Command } from "commander";
import { DEFINITION_FORMATS } from "../choices.ts";

/** @param done Takes the exit status. */
export function addDefinitionCommands(program: Command, done: (status: number) => void): void {
  program
    .command("define [files...]")
    .description("keep the VMs of definition files (YAML, JSON, libvirt XML), without starting them")
    .option("--check", "print every problem in the files, and do nothing else")
    .option("--replace", "give VMs that there are already their new definition, from their next start on")
    .option("--lenient", "go on without what tsvm lacks, with a warning")
    .option("--schema", "print the JSON Schema of the native format, for editors")
    .option("--json", "print a JSON document")
    .action(async (files: string[], options: Record<string, unknown>) => {
      const { defineCommand } = await import("./define-command.ts");
      done(await defineCommand(files, options));
    });

  program
    .command("convert <from> <to>")
    .description("convert a definition file; - is standard input or output")
    .addOption(
      new Option("--to <format>", "format of TO (default: by its ending)").choices(DEFINITION_FORMATS),
    )
    .option("--vm <name>", "which VM of a file with several, for formats that hold one")
    .option("--lenient", "leave out what the other format cannot say, with a warning")
    .option("--force", "overwrite TO")
    .action(async (from: string, to: string, options: Record<string, unknown>) => {
      const { convertCommand } = await import("./convert-command.ts");
      done(await convertCommand(from, to, options));
    });
}
