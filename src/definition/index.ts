/**
 * What the rest of tsvm uses of definitions. The command line has it in a bundle of its own (scripts/build.mjs), which is read only
 * where a definition is: import this file, not those beside it.
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
export { didYouMean } from "./suggestion.ts";
