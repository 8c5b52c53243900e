/** What a definition says and another format has no words for. */
import type { VmDefinition } from "./definition.ts";
import type { Problems } from "./problems.ts";

type Key =
  | "command"
  | "root"
  | "bootEntry"
  | "hugePages"
  | "console"
  | "acpi"
  | "agent"
  | "uuid"
  | "title"
  | "description"
  | "labels"
  | "restart"
  | "stopTimeout"
  | "dependsOn";

/** Whether leaving the property out changes anything. */
const SAYS_SOMETHING: Readonly<Record<Key, (definition: VmDefinition) => boolean>> = {
  command: ({ machine }) => machine.command !== undefined,
  root: ({ machine }) => machine.root === "bundled",
  bootEntry: ({ machine }) => machine.bootEntry !== undefined,
  hugePages: ({ machine }) => machine.hugePages === "transparent",
  console: ({ machine }) => machine.console === "virtio",
  acpi: ({ machine }) => machine.acpi === false,
  agent: ({ machine }) => machine.agent !== undefined,
  uuid: ({ uuid }) => uuid !== undefined,
  title: ({ title }) => title !== undefined,
  description: ({ description }) => description !== undefined,
  labels: ({ labels = {} }) => Object.keys(labels).length > 0,
  restart: ({ restart }) => restart !== undefined && restart.policy !== "no",
  stopTimeout: ({ stopTimeout }) => stopTimeout !== undefined,
  dependsOn: ({ dependsOn = [] }) => dependsOn.length > 0,
};

/** Tells of each of `keys` that the definition makes use of. */
export function tellUnsaid(
  definition: VmDefinition,
  format: string,
  keys: readonly Key[],
  problems: Problems,
): void {
  for (const key of keys) {
    if (SAYS_SOMETHING[key](definition))
      problems.lacking(`${key}: ${format} has no words for it`, { element: key });
  }
}
