/**
 * What the rest of tsvm uses of definitions. Import this file dynamically where a command can do without: the parsers are as large as all
 * the rest (scripts/build.mjs puts what is imported dynamically into files of its own).
 */
export { convertDefinitions, type TargetFormat } from "./convert.ts";
export { DefinitionError, formatProblems, loadDefinitions } from "./load.ts";
export type { DefinitionFile, DefinitionProblem, LoadOptions } from "./load.ts";
export type { VmDefinition } from "./definition.ts";
export { missingFiles } from "./missing-files.ts";
export { jsonSchema } from "./native/json-schema.ts";
export { printable } from "./problem.ts";
export { Problems } from "./problems.ts";
export { Source } from "./source.ts";
export { didYouMean } from "../suggestion.ts";
