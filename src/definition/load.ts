/** Reads definition files of all formats. */
import type { VmDefinition } from "./definition.ts";
import { readFirecracker } from "./firecracker/read.ts";
import { readLibvirt } from "./libvirt/read.ts";
import { readNative } from "./native/read.ts";
import type { DefinitionProblem } from "./problem.ts";
import { type NamedFile, Problems } from "./problems.ts";
import { recogniseFormat, type DefinitionFormat } from "./recognise.ts";
import { readSource } from "./source.ts";
import type { Variables } from "./variables.ts";

export { DefinitionError, formatProblems, type DefinitionProblem } from "./problem.ts";

export interface DefinitionFile {
  readonly path: string;
  readonly definitions: readonly VmDefinition[];
  readonly warnings: readonly DefinitionProblem[];
  /** Kernels, initrds and disks, in the order of the VMs. */
  readonly files: readonly NamedFile[];
}

export interface LoadOptions {
  /** By default what the file looks like. `yaml` is the native format, also as JSON. */
  readonly format?: DefinitionFormat;
  /** What tsvm cannot carry out is a warning instead of an error. */
  readonly lenient?: boolean;
  /** What `${VAR}` stands for in the native format; the environment by default. */
  readonly variables?: Variables;
}

const READERS: Readonly<
  Record<DefinitionFormat, (problems: Problems, variables: Variables) => readonly VmDefinition[]>
> = {
  yaml: readNative,
  libvirt: readLibvirt,
  firecracker: readFirecracker,
};

/** Reads the file at `path`, or standard input for `-`. Throws a DefinitionError, which carries every problem found at once. */
export function loadDefinitions(path: string, options: LoadOptions = {}): DefinitionFile {
  const source = readSource(path);
  const problems = new Problems(source, options.lenient);
  const format = options.format ?? recogniseFormat(source.text, path);
  const definitions = READERS[format](problems, options.variables ?? process.env);
  return { path, definitions, warnings: problems.finish(), files: problems.files };
}
