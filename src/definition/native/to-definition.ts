/** A VM of the native format as a definition: units to numbers, paths to absolute ones. */
import type {
  BalloonDescription,
  CommandDescription,
  DiskDescription,
  RateLimits,
  MachineDescription,
  RateLimit,
} from "../../machine/description.ts";
import { checkMachine } from "../check-machine.ts";
import type { VmDefinition } from "../definition.ts";
import { given } from "../given.ts";
import type { Problems } from "../problems.ts";
import { parseDuration, parseSize } from "../quantities.ts";
import { parseRestart } from "../restart.ts";
import type { Tree } from "../tree/parse-tree.ts";
import type { NativeDisk, NativeRateLimit, NativeVm } from "./schema.ts";

interface Context {
  /** Where the VM stands in the file. */
  readonly path: readonly PropertyKey[];
  readonly tree: Tree;
  readonly problems: Problems;
}

export const DEFAULT_CPUS = 1;
export const DEFAULT_MEMORY = 128 * 2 ** 20;

export function toDefinition(name: string, vm: NativeVm, context: Context): VmDefinition {
  const { path, tree, problems } = context;
  const machine = toMachine(name, vm, (text) => problems.source.resolve(text));
  checkMachine(machine, problems, (...keys) => tree.at([...path, ...keys]));
  const { title, description, uuid, labels, restart, stopTimeout, dependsOn } = vm;
  return {
    kind: "vm",
    name,
    ...(uuid === undefined ? {} : { uuid: uuid.toLowerCase() }),
    ...given({ title, description, labels }),
    machine,
    ...(restart === undefined ? {} : { restart: parseRestart(restart)! }),
    ...(stopTimeout === undefined ? {} : { stopTimeout: parseDuration(stopTimeout)! }),
    ...given({ dependsOn }),
  };
}

function toMachine(name: string, vm: NativeVm, file: (path: string) => string): MachineDescription {
  const { hugePages, bootEntry, root, rootDevice, console, kernel, initrd, append, disks, command } = vm;
  return {
    name,
    cpus: vm.cpus === undefined ? DEFAULT_CPUS : Number(vm.cpus),
    memory: vm.memory === undefined ? DEFAULT_MEMORY : parseSize(vm.memory)!,
    ...given({ hugePages }),
    ...(vm.balloon === undefined ? {} : { balloon: toBalloon(vm.balloon) }),
    ...(kernel === undefined
      ? {}
      : kernel === "bundled" || kernel === "disk"
        ? { kernelSource: kernel }
        : { kernel: file(kernel) }),
    ...given({ bootEntry }),
    ...(initrd === undefined ? {} : { initrd: file(initrd) }),
    ...(append === undefined
      ? {}
      : {
          append: [append]
            .flat()
            .join(" ")
            .replaceAll(/\s*\n\s*/g, " ")
            .trim(),
        }),
    ...(disks === undefined ? {} : { disks: disks.map((disk) => toDisk(disk, file)) }),
    ...given({ root, rootDevice, console }),
    ...(vm.acpi === undefined ? {} : { acpi: isTrue(vm.acpi) }),
    ...(command === undefined ? {} : { command: toCommand(command) }),
  };
}

function toDisk(disk: string | NativeDisk, file: (path: string) => string): DiskDescription {
  if (typeof disk === "string") return { path: file(disk) };
  const { path, readOnly, overlay, ephemeral, format, serial, cache, rateLimits, bootOrder } = disk;
  return {
    path: file(path),
    ...flags({ readOnly, overlay, ephemeral }),
    ...given({ format, serial, cache }),
    ...(rateLimits === undefined ? {} : { rateLimits: toRateLimits(rateLimits) }),
    ...(bootOrder === undefined ? {} : { bootOrder: Number(bootOrder) }),
  };
}

function toRateLimits(limits: NonNullable<NativeDisk["rateLimits"]>): RateLimits {
  const { total, read, write } = limits;
  return {
    ...(total === undefined ? {} : { total: toRateLimit(total) }),
    ...(read === undefined ? {} : { read: toRateLimit(read) }),
    ...(write === undefined ? {} : { write: toRateLimit(write) }),
  };
}

function toRateLimit(limit: NativeRateLimit): RateLimit {
  const bytes = (value: string | number): number =>
    typeof value === "number" ? value : (parseSize(value) ?? Number(value));
  const { bytesPerSecond, bytesBurst, operationsPerSecond, operationsBurst } = limit;
  return {
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond: bytes(bytesPerSecond) }),
    ...(bytesBurst === undefined ? {} : { bytesBurst: bytes(bytesBurst) }),
    ...(operationsPerSecond === undefined ? {} : { operationsPerSecond: Number(operationsPerSecond) }),
    ...(operationsBurst === undefined ? {} : { operationsBurst: Number(operationsBurst) }),
  };
}

function toBalloon(balloon: NonNullable<NativeVm["balloon"]>): BalloonDescription | false {
  if (typeof balloon !== "object") return isTrue(balloon) ? {} : false;
  const { size, reporting, deflateOnOom, statsInterval } = balloon;
  return {
    ...(size === undefined ? {} : { size: parseSize(size)! }),
    ...flags({ reporting, deflateOnOom }),
    ...(statsInterval === undefined ? {} : { statsInterval: parseDuration(statsInterval)! / 1000 }),
  };
}

function toCommand(command: NonNullable<NativeVm["command"]>): CommandDescription {
  if (typeof command === "string") return { argv: ["sh", "-c", command] };
  if (Array.isArray(command)) return { argv: command };
  const { argv, env, cwd, terminal } = command;
  return { argv, ...given({ env, cwd }), ...flags({ terminal }) };
}

type Flag = NonNullable<NativeVm["acpi"]>;

function isTrue(flag: Flag): boolean {
  return flag === true || flag === "true";
}

/** Those that are there, as booleans. */
function flags<K extends string>(all: Record<K, Flag | undefined>): Partial<Record<K, boolean>> {
  const entries = Object.entries(all) as [K, Flag | undefined][];
  return Object.fromEntries(
    entries.flatMap(([key, flag]) => (flag === undefined ? [] : [[key, isTrue(flag)]])),
  ) as Partial<Record<K, boolean>>;
}
