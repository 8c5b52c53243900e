/** Truth values, which are texts where a variable stands for them. */
import type { NativeVm } from "./schema.ts";

type Flag = NonNullable<NativeVm["acpi"]>;

export function isTrue(flag: Flag): boolean {
  return flag === true || flag === "true";
}

/** Those that are there, as booleans. */
export function flags<K extends string>(all: Record<K, Flag | undefined>): Partial<Record<K, boolean>> {
  const entries = Object.entries(all) as [K, Flag | undefined][];
  return Object.fromEntries(
    entries.flatMap(([key, flag]) => (flag === undefined ? [] : [[key, isTrue(flag)]])),
  ) as Partial<Record<K, boolean>>;
}
