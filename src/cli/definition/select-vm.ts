import { didYouMean, type VmDefinition } from "../../definition/index.ts";
import { UsageError } from "../errors.ts";

/** The one VM of a file, or the one that `--vm` names. Throws a UsageError that lists the names. */
export function selectVm(
  path: string,
  definitions: readonly VmDefinition[],
  wanted: string | undefined,
): VmDefinition {
  const names = definitions.map(({ name }) => name);
  const found = definitions.find(({ name }) => wanted === undefined || name === wanted);
  if (wanted === undefined && definitions.length > 1) {
    throw new UsageError(
      `${path} has ${names.length} VMs: ${names.join(", ")}`,
      `name one of them: --vm ${names[0]!}`,
    );
  }
  if (found === undefined) {
    throw new UsageError(
      `${path} has no VM ${wanted ?? ""}`,
      didYouMean(wanted ?? "", names) ?? `it has ${names.join(", ")}`,
    );
  }
  return found;
}
