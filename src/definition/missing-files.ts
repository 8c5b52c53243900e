/** Files that a definition names and that are not there, for those who check it where it will run. */
import { existsSync } from "node:fs";
import type { DefinitionFile } from "./load.ts";
import type { DefinitionProblem } from "./problem.ts";

export function missingFiles({ files }: DefinitionFile): DefinitionProblem[] {
  const missing = files.filter(({ path }) => !existsSync(path)).map((file) => file.missing);
  return missing.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
}
