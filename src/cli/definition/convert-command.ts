/** `tsvm convert`: reads a definition in one format and writes it in another. */
import { existsSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, extname, resolve } from "node:path";
import {
  convertDefinitions,
  formatProblems,
  loadDefinitions,
  Problems,
  Source,
  type TargetFormat,
  type VmDefinition,
} from "../../definition/index.ts";
import { TsvmError } from "../../errors.ts";
import { DEFINITION_FORMATS } from "../choices.ts";
import { UsageError } from "../errors.ts";
import { print } from "../output.ts";
import { selectVm } from "./select-vm.ts";

interface ConvertFlags {
  /** Commander has checked it. */
  to?: TargetFormat;
  vm?: string;
  lenient?: boolean;
  force?: boolean;
}

export async function convertCommand(
  from: string,
  to: string,
  options: Record<string, unknown>,
): Promise<number> {
  const { to: wanted, vm, lenient, force } = options as ConvertFlags;
  const target = targetFormat(wanted, to);
  if (to !== "-" && force !== true && existsSync(to)) {
    throw new UsageError(`${to} exists`, "--force overwrites it");
  }
  if (isSameFile(from, to)) {
    throw new UsageError(
      `${to} is the file that is read, ${from}`,
      "name another one, and compare the two first",
    );
  }
  const { definitions, warnings } = loadDefinitions(from, lenient === true ? { lenient } : {});
  const problems = new Problems(new Source(from, ""), lenient);
  const chosen = choose(from, definitions, target, vm);
  const text = await convertDefinitions(
    chosen,
    target,
    to === "-" ? undefined : dirname(resolve(to)),
    problems,
  );
  const all = [...warnings, ...problems.finish()];
  if (all.length > 0) process.stderr.write(`${formatProblems(all)}\n`);
  if (to === "-") print(text);
  else writeWhole(to, text);
  return 0;
}

/** Also by way of links. */
function isSameFile(from: string, to: string): boolean {
  if (from === "-" || to === "-") return false;
  const [a, b] = [from, to].map((path) => statSync(path, { throwIfNoEntry: false }));
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

const ENDINGS: Readonly<Record<string, TargetFormat>> = {
  ".yaml": "yaml",
  ".yml": "yaml",
  ".json": "json",
  ".xml": "libvirt",
};
const FORMATS: readonly TargetFormat[] = DEFINITION_FORMATS;

function targetFormat(wanted: TargetFormat | undefined, to: string): TargetFormat {
  if (wanted === undefined) {
    const byEnding = to === "-" ? "yaml" : ENDINGS[extname(to).toLowerCase()];
    if (byEnding !== undefined) return byEnding;
    throw new UsageError(`${to}: its ending does not tell the format`, `give it: --to ${FORMATS.join("|")}`);
  }
  return wanted;
}

/** Our own format holds several VMs, the others one. */
function choose(
  path: string,
  definitions: readonly VmDefinition[],
  target: TargetFormat,
  vm: string | undefined,
): readonly VmDefinition[] {
  const several = (target === "yaml" || target === "json") && vm === undefined;
  return several ? definitions : [selectVm(path, definitions, vm)];
}

/** The file appears with all that is in it, or not at all. */
function writeWhole(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.new`;
  try {
    writeFileSync(temporary, text, { flag: "wx" });
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    // "ENOENT: no such file or directory, open '/x'"
    const reason = (cause as Error).message.replace(/^E[A-Z0-9]+: /, "").replace(/, \w+ '.*$/, "");
    throw new TsvmError("ERR_WRITE_FILE", `${path}: cannot be written: ${reason}`, { cause });
  }
}
