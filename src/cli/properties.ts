/** What stands behind the first word of `--disk`, `--net` and `--balloon`: `PROPERTY[=VALUE]`, between commas. */
import { UsageError } from "./errors.ts";

/** Sets a property's part of the description. Without an equals sign `value` is empty and `given` false. */
export type SetProperty<Target> = (target: Target, value: string, given: boolean) => void;

/** Throws a {@link UsageError} that names `option` for a property that is not in `known`, and that of `twice` for one that comes again. */
export function setProperties<Target>(
  option: string,
  properties: readonly string[],
  known: Readonly<Record<string, SetProperty<Target>>>,
  target: Target,
  twice: (name: string) => UsageError | undefined,
): void {
  const seen = new Set<string>();
  for (const property of properties) {
    const [name = "", ...rest] = property.split("=");
    const set = Object.hasOwn(known, name) ? known[name] : undefined;
    if (set === undefined) {
      throw new UsageError(
        `${option}: unknown property "${property}"`,
        `known are ${Object.keys(known).join(", ")}`,
      );
    }
    const complaint = seen.has(name) ? twice(name) : undefined;
    if (complaint !== undefined) throw complaint;
    seen.add(name);
    set(target, rest.join("="), property.includes("="));
  }
}
