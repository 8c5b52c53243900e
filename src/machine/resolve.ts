/** Fills in a description's defaults: bundled files, init, kernel command line. */
import { readFileSync } from "node:fs";
import { joinCommandLine } from "../boot/command-line.ts";
import { cpioArchive } from "../boot/cpio.ts";
import type { ImageKernel } from "../disk/boot-entry/image-kernel.ts";
import { diskDevice, rootDevice } from "../disk/root-device.ts";
import type { RateLimits } from "../devices/rate-limiter.ts";
import { bundledFile } from "../images/bundled.ts";
import { isSoftwareKvm } from "../kvm/host.ts";
import { HOLE_START } from "../kvm/memory-map.ts";
import {
  DescriptionError,
  type DiskDescription,
  type MachineDescription,
  type NetworkDescription,
  type VsockDescription,
  vsockOf,
} from "./description.ts";
import { guestAddressParameters } from "./guest-address.ts";
import { encodeRun, type RunRequest } from "./guest-init.ts";

export interface ResolvedDisk {
  readonly path: string;
  readonly readOnly: boolean;
  readonly ephemeral: boolean;
  readonly overlay: boolean;
  readonly format: "raw" | "qcow2" | undefined;
  readonly serial: string;
  readonly cache: "writeback" | "none" | "unsafe";
  readonly rateLimits: RateLimits | undefined;
  readonly bootOrder: number | undefined;
}

export interface ResolvedBalloon {
  readonly size: number;
  readonly reporting: boolean;
  readonly deflateOnOom: boolean;
  /** Seconds. */
  readonly statsInterval: number | undefined;
}

/** A description with every decision taken. */
export interface ResolvedMachine {
  readonly name: string | undefined;
  readonly cpus: number;
  readonly memory: number;
  readonly hugePages: "none" | "transparent" | "hugetlb";
  /** A path, or a kernel in the first disk. */
  readonly kernel: string | ImageKernel;
  /** A path, or the bytes of one that tsvm makes. That of a kernel in the disk comes with it, unless another is given. */
  readonly initrd: string | Uint8Array | undefined;
  readonly commandLine: string;
  readonly disks: readonly ResolvedDisk[];
  readonly networks: readonly NetworkDescription[];
  readonly vsock: VsockDescription | undefined;
  /** Whether tsvm's init starts the agent at once, or when it is asked to. */
  readonly agent: "now" | "later" | undefined;
  readonly balloon: ResolvedBalloon | undefined;
  readonly virtioConsole: boolean;
  readonly acpi: boolean;
  /** The frame that tells tsvm's init what to do; undefined where the guest boots by itself. */
  readonly run: Uint8Array | undefined;
}

/** CONFIG_NR_CPUS of images/kernel/config. */
const BUNDLED_KERNEL_CPUS = 64;

/** Wanted by every guest: serial console, reset through the keyboard controller, a panic ends the machine. */
const COMMON_PARAMETERS = ["console=ttyS0", "reboot=k", "panic=-1"];
/** The bundled kernel has nothing to say that its users want to read. */
const BUNDLED_PARAMETERS = ["quiet"];
/** With memory above 4 GiB the kernel would set 64 MiB aside to copy through, for devices that we do not have. */
const LARGE_MEMORY_PARAMETERS = ["swiotlb=noforce"];
/**
 * A guest tells of free pages in blocks of this order (512 KiB), and only while it has 32 of them to spare: of Linux's own blocks,
 * 4 MiB, a small guest never has that many.
 */
const REPORTING_PARAMETERS = ["page_reporting.page_reporting_order=7"];
/**
 * On a software KVM every kernel instruction is emulated, and CPUID cannot hide features. Protecting read-only data there costs a
 * second; ERMS and FSRM (string moves byte by byte), SMAP (CLAC, STAC) and POPCNT cost steps or exits. docs/guest.md.
 */
const SOFTWARE_KVM_PARAMETERS = ["rodata=off", "clearcpuid=297,580,308,151"];

/** Reads the bundled files where the description asks for them. Throws TsvmError. */
export async function resolveMachine(description: MachineDescription): Promise<ResolvedMachine> {
  const inDisk = await kernelInDisk(description);
  const bundled = description.kernel === undefined && inDisk === undefined;
  const ownInit =
    inDisk === undefined &&
    description.initrd === undefined &&
    (bundled || description.command !== undefined || description.agent === "only");
  if (bundled && description.cpus > BUNDLED_KERNEL_CPUS) {
    throw new DescriptionError(
      `cpus: ${description.cpus} are more than the ${BUNDLED_KERNEL_CPUS} that the bundled kernel uses`,
      "boot a kernel of your own (--kernel)",
    );
  }
  if (description.root === "bundled" && !ownInit) {
    throw new DescriptionError(
      "root: the bundled root file system needs tsvm's init",
      "leave out the initrd, or give a command, or a disk of your own",
    );
  }
  const disks = (description.disks ?? []).map(resolveDisk);
  const bundledRoot =
    ownInit && (description.root ?? (disks.length === 0 ? "bundled" : "disk")) === "bundled";
  if (bundledRoot) {
    disks.unshift(
      resolveDisk({ path: bundledFile("rootfs.ext4"), ephemeral: true, format: "raw", serial: "tsvm-root" }),
    );
  }
  // After a bundled root, which is the first disk then, nobody looks at the others.
  const rootDisk = bundledRoot ? 0 : (bootDisks(disks)[0] ?? 0);
  const root =
    disks[rootDisk] === undefined || inDisk !== undefined
      ? ""
      : (description.rootDevice ?? (await rootDevice(disks[rootDisk].path, diskDevice(rootDisk))));
  if (ownInit && description.console === "serial") {
    throw new DescriptionError(
      "console: tsvm's init has its shell on the virtio console, not on the serial port",
      "leave the console out, or boot an initrd of your own",
    );
  }
  if (description.agent === "only" && !ownInit) {
    throw new DescriptionError(
      'agent: "only" needs tsvm\'s init',
      "leave out the initrd, and the kernel of the disk; or give the guest's own agent: true",
    );
  }
  const vsock = vsockOf(description);
  const agent = !ownInit || vsock === undefined ? undefined : description.agent ? "now" : "later";
  const networks = description.networks ?? [];
  const balloon = resolveBalloon(description);
  const rootReadOnly = disks[rootDisk]?.readOnly ?? true;
  const parameters = [
    // Before ours: the last console= is the one that init gets.
    ...(inDisk === undefined ? [] : [inDisk.commandLine]),
    ...COMMON_PARAMETERS,
    ...(bundled ? BUNDLED_PARAMETERS : []),
    ...(bundled && description.memory > HOLE_START ? LARGE_MEMORY_PARAMETERS : []),
    ...(bundled && balloon?.reporting === true ? REPORTING_PARAMETERS : []),
    ...(bundled && isSoftwareKvm() ? SOFTWARE_KVM_PARAMETERS : []),
    ...(!ownInit && inDisk === undefined && disks.length > 0
      ? [`root=${root}`, rootReadOnly ? "ro" : "rw"]
      : []),
    ...(ownInit ? guestAddressParameters(networks, description.name) : []),
    ...(description.append === undefined ? [] : [description.append]),
  ];
  return {
    name: description.name,
    cpus: description.cpus,
    memory: description.memory,
    hugePages: description.hugePages ?? "none",
    kernel: description.kernel ?? inDisk ?? bundledFile("vmlinux"),
    initrd: ownInit ? initramfsWithInit(agent !== undefined) : description.initrd,
    commandLine: joinCommandLine(...parameters),
    disks,
    networks,
    vsock,
    agent,
    balloon,
    virtioConsole: ownInit || description.console === "virtio",
    // The bundled kernel would not look at the tables.
    acpi: description.acpi ?? !bundled,
    run: ownInit ? encodeRun(runRequest(description, { root, bundledRoot, rootReadOnly, agent })) : undefined,
  };
}

function resolveDisk(disk: DiskDescription): ResolvedDisk {
  return {
    path: disk.path,
    readOnly: disk.readOnly ?? false,
    ephemeral: disk.ephemeral ?? false,
    overlay: disk.overlay ?? false,
    format: disk.format,
    serial: disk.serial ?? "",
    cache: disk.cache ?? "writeback",
    rateLimits: disk.rateLimits,
    bootOrder: disk.bootOrder,
  };
}

function resolveBalloon({ balloon }: MachineDescription): ResolvedBalloon | undefined {
  if (balloon === undefined || balloon === false) return undefined;
  const { size = 0, reporting = true, deflateOnOom = true, statsInterval } = balloon;
  return { size, reporting, deflateOnOom, statsInterval };
}

/** Which disks the machine boots from, by their numbers from 0, in this order: the first one, unless some have an order. */
function bootDisks(disks: readonly { readonly bootOrder?: number | undefined }[]): number[] {
  const ordered = [...disks.keys()]
    .filter((index) => disks[index]!.bootOrder !== undefined)
    .sort((a, b) => disks[a]!.bootOrder! - disks[b]!.bootOrder!);
  return ordered.length > 0 || disks.length === 0 ? ordered : [0];
}

/** A disk's own kernel, where the description wants that: of the first in boot order that has one. */
async function kernelInDisk(description: MachineDescription): Promise<ImageKernel | undefined> {
  const { kernel, kernelSource, command, agent, root, disks = [], bootEntry, rootDevice } = description;
  const candidates = bootDisks(disks);
  const wanted =
    kernelSource ??
    (candidates.length === 0 || command !== undefined || agent === "only" || root === "bundled"
      ? "bundled"
      : "disk");
  if (kernel !== undefined || wanted === "bundled") {
    if (bootEntry === undefined) return undefined;
    throw new DescriptionError("bootEntry: the kernel does not come from a disk", "leave it out");
  }
  if (candidates.length === 0)
    throw new DescriptionError("kernelSource: there is no disk to take the kernel from");
  if (command !== undefined) {
    throw new DescriptionError(
      "kernelSource: a command needs tsvm's init, and a kernel from the disk starts the disk's own",
    );
  }
  // Only now: most machines start without it, and all of them want to start soon.
  const { findImageKernel } = await import("../disk/boot-entry/image-kernel.ts");
  const { NoKernelError } = await import("../disk/boot-entry/errors.ts");
  for (const [position, index] of candidates.entries()) {
    const { path, format } = disks[index]!;
    try {
      return findImageKernel(path, { entry: bootEntry, format, rootDevice, device: diskDevice(index) });
    } catch (error) {
      if (!(error instanceof NoKernelError) || position === candidates.length - 1) throw error;
    }
  }
  return undefined;
}

/** tsvm's init, the console that the kernel opens for it, and the agent where it may be wanted. */
function initramfsWithInit(withAgent: boolean): Uint8Array {
  const executable = (name: "init" | "agent") =>
    ({ type: "file", path: name, mode: 0o755, content: readFileSync(bundledFile(name)) }) as const;
  return cpioArchive([
    { type: "directory", path: "dev" },
    { type: "char-device", path: "dev/console", major: 5, minor: 1 },
    executable("init"),
    ...(withAgent ? [executable("agent")] : []),
  ]);
}

function runRequest(
  description: MachineDescription,
  {
    root,
    bundledRoot,
    rootReadOnly,
    agent,
  }: Pick<RunRequest, "root" | "rootReadOnly" | "agent"> & { bundledRoot: boolean },
): RunRequest {
  const { command, name } = description;
  return {
    argv: command?.argv ?? [],
    env: command?.env ?? {},
    cwd: command?.cwd ?? "/",
    terminal: command?.terminal ?? false,
    shell: command === undefined && bundledRoot && description.agent !== "only",
    wait: description.agent === "only",
    agent,
    root,
    rootReadOnly,
    rootFsType: bundledRoot && description.rootDevice === undefined ? "ext4" : "",
    hostname: name ?? "tsvm",
  };
}
