/** Loads texts as if they were files of this name in `/srv`. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VmDefinition } from "../definition.ts";
import {
  DefinitionError,
  formatProblems,
  loadDefinitions,
  type DefinitionProblem,
  type LoadOptions,
} from "../load.ts";

export interface Loaded {
  readonly definitions: readonly VmDefinition[];
  /** What a user would see of errors and warnings; `/srv/` is left out. */
  readonly printed: string;
  readonly errors: number;
  /** JSON or XML paths of the problems. */
  readonly elements: readonly (string | undefined)[];
}

export function loadText(text: string | Uint8Array, name = "web.yaml", options: LoadOptions = {}): Loaded {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-test-"));
  const path = join(directory, name);
  const shown = (printed: string): string => printed.replaceAll(`${directory}/`, "");
  try {
    writeFileSync(path, text);
    const { definitions, warnings } = loadDefinitions(path, { variables: {}, ...options });
    const moved = JSON.parse(JSON.stringify(definitions).replaceAll(directory, "/srv")) as VmDefinition[];
    return {
      definitions: moved,
      printed: shown(formatProblems(warnings)),
      errors: 0,
      elements: elementsOf(warnings),
    };
  } catch (error) {
    if (!(error instanceof DefinitionError)) throw error;
    const errors = error.problems.filter(({ severity }) => severity === "error").length;
    return {
      definitions: [],
      printed: shown(formatProblems(error.problems)),
      errors,
      elements: elementsOf(error.problems),
    };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function elementsOf(problems: readonly DefinitionProblem[]): (string | undefined)[] {
  return problems.map(({ element }) => element);
}
