/** Definitions in the native format. Reading the result gives the same definitions. */
import { relative, sep } from "node:path";
import { stringify } from "yaml";
import type {
  BalloonDescription,
  CommandDescription,
  DiskDescription,
  MachineDescription,
  VsockDescription,
} from "../../machine/description.ts";
import type { VmDefinition } from "../definition.ts";
import { given } from "../given.ts";
import { formatDuration, formatSize } from "../quantities.ts";
import { formatRestart } from "../restart.ts";
import { escapeVariables } from "../variables.ts";
import { writeNetwork } from "./networks.ts";
import { writeRateLimits } from "./rate-limits.ts";
import {
  VERSION,
  type NativeDisk,
  type NativeFile,
  type NativeSingle,
  type NativeVm,
  type NativeVsock,
} from "./schema.ts";

/** @param directory Paths below it are written relative to it; undefined: all are absolute. */
export function writeNative(
  definitions: readonly VmDefinition[],
  syntax: "yaml" | "json",
  directory: string | undefined,
): string {
  const document = escaped(toDocument(definitions, directory));
  return syntax === "json"
    ? `${JSON.stringify(document, null, 2)}\n`
    : stringify(document, { lineWidth: 0, aliasDuplicateObjects: false });
}

function toDocument(
  definitions: readonly VmDefinition[],
  directory: string | undefined,
): NativeFile | NativeSingle {
  const [only, ...more] = definitions.map(
    (definition) => [definition.name, toVm(definition, directory)] as const,
  );
  if (only !== undefined && more.length === 0) return { version: VERSION, name: only[0], ...only[1] };
  return { version: VERSION, vms: Object.fromEntries([...(only === undefined ? [] : [only]), ...more]) };
}

function toVm(definition: VmDefinition, directory: string | undefined): NativeVm {
  const { title, description, uuid, labels, machine, restart, stopTimeout, dependsOn } = definition;
  return {
    ...given({ title, description, uuid }),
    ...(labels === undefined ? {} : { labels: { ...labels } }),
    ...toMachine(machine, (path) => shortPath(path, directory)),
    ...(restart === undefined ? {} : { restart: formatRestart(restart) }),
    ...(stopTimeout === undefined ? {} : { stopTimeout: formatDuration(stopTimeout) }),
    ...(dependsOn === undefined ? {} : { dependsOn: [...dependsOn] }),
  };
}

function toMachine(machine: MachineDescription, file: (path: string) => string): NativeVm {
  const { cpus, memory, hugePages, kernel, kernelSource, bootEntry, initrd, append, disks } = machine;
  const { networks, vsock, root, rootDevice, console, acpi, command } = machine;
  return {
    cpus,
    memory: formatSize(memory),
    ...(machine.balloon === undefined ? {} : { balloon: toBalloon(machine.balloon) }),
    ...given({ hugePages, kernel: kernel === undefined ? kernelSource : file(kernel), bootEntry }),
    ...given({ initrd: initrd === undefined ? undefined : file(initrd), append }),
    ...(disks === undefined ? {} : { disks: disks.map((disk) => toDisk(disk, file)) }),
    ...(networks === undefined ? {} : { networks: networks.map(writeNetwork) }),
    ...(vsock === undefined ? {} : { vsock: toVsock(vsock, file) }),
    ...(machine.agent === undefined ? {} : { agent: machine.agent !== false }),
    ...given({ root, rootDevice, console, acpi }),
    ...(command === undefined ? {} : { command: toCommand(command) }),
  };
}

function toBalloon(balloon: BalloonDescription | false): NonNullable<NativeVm["balloon"]> {
  if (balloon === false) return false;
  const { size, statsInterval, ...flags } = balloon;
  if (Object.keys(balloon).length === 0) return true;
  return {
    ...given({ size: size === undefined ? undefined : formatSize(size) }),
    ...flags,
    ...given({
      statsInterval: statsInterval === undefined ? undefined : formatDuration(statsInterval * 1000),
    }),
  };
}

function toDisk(disk: DiskDescription, file: (path: string) => string): string | NativeDisk {
  const { path, rateLimits, ...others } = disk;
  if (rateLimits === undefined && Object.keys(others).length === 0) return file(path);
  return {
    path: file(path),
    ...others,
    ...(rateLimits === undefined ? {} : { rateLimits: writeRateLimits(rateLimits) }),
  };
}

function toVsock({ cid, path }: VsockDescription, file: (path: string) => string): NativeVsock {
  return given({ cid, path: path === undefined ? undefined : file(path) });
}

function toCommand({ argv, env, cwd, terminal }: CommandDescription): NonNullable<NativeVm["command"]> {
  if (env === undefined && cwd === undefined && terminal === undefined) return [...argv];
  return { argv: [...argv], ...given({ env, cwd, terminal }) };
}

/** With `./` in front, so that it is no word such as `bundled`. */
function shortPath(path: string, directory: string | undefined): string {
  if (directory === undefined) return path;
  const below = relative(directory, path);
  return below === "" || below === ".." || below.startsWith(`..${sep}`) ? path : `./${below}`;
}

/** Every text in it, keys aside, with its `$` doubled where it would be taken for a variable. */
function escaped(value: unknown): unknown {
  if (typeof value === "string") return escapeVariables(value);
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, escaped(inner)]));
}
