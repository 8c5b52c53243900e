import { UsageError } from "../errors.ts";

/** Keeps the VMs of the files for the manager. The result is the exit status. */
export function storeDefinitions(
  files: readonly string[],
  { lenient }: { lenient: boolean },
): Promise<number> {
  const flags = lenient ? "--lenient " : "";
  throw new UsageError(
    "tsvm keeps no VMs yet: it checks definitions, and boots them",
    `tsvm define --check ${flags}${files.join(" ")}; tsvm boot ${flags}${files[0] ?? "FILE"}`,
  );
}
