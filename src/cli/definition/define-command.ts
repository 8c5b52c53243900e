/** `tsvm define`: checks definition files and, without `--check`, hands them to the manager. */
import {
  DefinitionError,
  formatProblems,
  jsonSchema,
  loadDefinitions,
  missingFiles,
  printable,
  type DefinitionFile,
  type DefinitionProblem,
} from "../../definition/index.ts";
import { UsageError } from "../errors.ts";
import { print } from "../output.ts";

/** Status of a check that found errors. */
const FOUND_ERRORS = 1;

interface DefineFlags {
  check?: boolean;
  replace?: boolean;
  lenient?: boolean;
  schema?: boolean;
  json?: boolean;
}

export async function defineCommand(
  files: readonly string[],
  options: Record<string, unknown>,
): Promise<number> {
  const { check, replace, lenient, schema, json } = options as DefineFlags;
  if (schema === true) {
    print(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
    return 0;
  }
  if (files.length === 0) throw new UsageError("no file to define", "tsvm define --check web.yaml");
  if (check !== true) {
    const { storeDefinitions } = await import("../manager/commands.ts");
    return storeDefinitions(files, { lenient: lenient === true, replace: replace === true });
  }
  const checked = files.map((path) => checkFile(path, lenient === true));
  if (json === true) print(`${JSON.stringify({ files: checked }, null, 2)}\n`);
  else for (const result of checked) printResult(result);
  return checked.every(({ ok }) => ok) ? 0 : FOUND_ERRORS;
}

interface Checked {
  readonly path: string;
  readonly ok: boolean;
  readonly vms: readonly string[];
  readonly problems: readonly DefinitionProblem[];
}

function checkFile(path: string, lenient: boolean): Checked {
  let file: DefinitionFile;
  try {
    file = loadDefinitions(path, { lenient });
  } catch (error) {
    if (!(error instanceof DefinitionError)) throw error;
    return { path, ok: false, vms: [], problems: error.problems };
  }
  const vms = file.definitions.map(({ name }) => name);
  return { path, ok: true, vms, problems: [...file.warnings, ...missingFiles(file)] };
}

function printResult({ path, ok, vms, problems }: Checked): void {
  if (problems.length > 0) process.stderr.write(`${formatProblems(problems)}\n`);
  if (ok)
    print(`${printable(path)}: ${vms.length === 1 ? "1 VM" : `${vms.length} VMs`}: ${vms.join(", ")}\n`);
}
