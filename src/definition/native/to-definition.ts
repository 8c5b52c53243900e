/** A VM of the native format as a definition: units to numbers, paths to absolute ones. */
import type {
  BalloonDescription,
  CommandDescription,
  DiskDescription,
  MachineDescription,
  VsockDescription,
} from "../../machine/description.ts";
import { checkMachine } from "../check-machine.ts";
import type { VmDefinition } from "../definition.ts";
import { given } from "../given.ts";
import type { Problems } from "../problems.ts";
import { parseDuration, parseSize } from "../quantities.ts";
import { parseRestart } from "../restart.ts";
import type { Tree } from "../tree/parse-tree.ts";
import { flags, isTrue } from "./flags.ts";
import { readNetwork } from "./networks.ts";
import { readRateLimits } from "./rate-limits.ts";
import type { NativeDisk, NativeVm, NativeVsock } from "./schema.ts";

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
  const {
    hugePages,
    bootEntry,
    root,
    rootDevice,
    console,
    kernel,
    initrd,
    append,
    disks,
    networks,
    vsock,
    command,
  } = vm;
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
    ...(networks === undefined ? {} : { networks: networks.map(readNetwork) }),
    ...(vsock === undefined ? {} : { vsock: toVsock(vsock, file) }),
    ...(vm.agent === undefined ? {} : { agent: isTrue(vm.agent) }),
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
    ...(rateLimits === undefined ? {} : { rateLimits: readRateLimits(rateLimits) }),
    ...(bootOrder === undefined ? {} : { bootOrder: Number(bootOrder) }),
  };
}

function toVsock({ cid, path }: NativeVsock, file: (path: string) => string): VsockDescription {
  return {
    ...(cid === undefined ? {} : { cid: Number(cid) }),
    ...(path === undefined ? {} : { path: file(path) }),
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
