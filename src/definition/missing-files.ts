/** Files that a definition names and that are not there, for those who check it where it will run. */
import { existsSync } from "node:fs";
import type { DefinitionFile } from "./load.ts";
import type { DefinitionProblem } from "./problem.ts";

export function missingFiles({ path, definitions }: DefinitionFile): DefinitionProblem[] {
  return definitions.flatMap(({ name, machine }) => {
    const { kernel, initrd, disks = [] } = machine;
    const files = [
      { element: "kernel", file: kernel },
      { element: "initrd", file: initrd },
      ...disks.map((disk, index) => ({ element: `disks[${index}]`, file: disk.path })),
    ];
    return files.flatMap(({ element, file }): DefinitionProblem[] =>
      file === undefined || existsSync(file)
        ? []
        : [{ severity: "warning", message: `${name}: ${element}: there is no file ${file}`, file: path }],
    );
  });
}
