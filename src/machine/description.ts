/** The plain description of a machine: what `boot`, definition files, the library and tests all go through. */
import { totalmem } from "node:os";
import type { RateLimit, RateLimits } from "../devices/rate-limiter.ts";
import { MiB } from "../kvm/memory-map.ts";
import type { PortForward } from "../net/port-forward.ts";
import { DescriptionError } from "./description-error.ts";
import { validateBalloon } from "./description-balloon.ts";
import { checkShape } from "./description-shape.ts";
import { checkRateLimits } from "./description-rates.ts";
import { validateNetworks } from "./description-network.ts";
import { validateVsock } from "./description-vsock.ts";

export { DescriptionError };

export type { PortForward, RateLimit, RateLimits };

/** A disk, and what may become of what the guest writes to it. */
export interface DiskDescription {
  /** A raw or qcow2 image, or a block device. */
  path: string;
  /** The guest may not write. */
  readOnly?: boolean;
  /** The guest writes to a copy in memory that vanishes with the machine; the file is only read. */
  ephemeral?: boolean;
  /** The guest's writes go to a temporary file that vanishes with the machine. Others may read the image meanwhile, not write. */
  overlay?: boolean;
  /** By default what the image looks like. */
  format?: "raw" | "qcow2";
  /** At most 20 ASCII characters; the guest sees it in /sys/block/vdX/serial. */
  serial?: string;
  /**
   * `writeback` (the default): through the host's page cache; what the guest flushes is on stable storage. `none`: past the
   * page cache, by O_DIRECT. `unsafe`: flushes are not waited for, and a power loss of the host may leave the image unusable.
   */
  cache?: "writeback" | "none" | "unsafe";
  rateLimits?: RateLimits;
  /** Which disk the kernel is looked for in first: the lowest of these numbers, from 1. Without any, the first disk. */
  bootOrder?: number;
}

/** What may pass through a network in a second; `receive` is what the guest receives. */
export interface NetworkRateLimits {
  total?: RateLimit;
  receive?: RateLimit;
  transmit?: RateLimit;
}

/** A network interface of the guest: eth0, eth1, … in this order. */
export interface NetworkDescription {
  /**
   * `user`: through passt, without privileges. The guest is 10.0.2.15/24, its gateway 10.0.2.2, its name server 10.0.2.3; it learns
   * that by DHCP or from tsvm's init. `tap`: a tap device that exists on the host.
   */
  type: "user" | "tap";
  /** Name of the tap device. */
  tap?: string;
  /** Ethernet address such as `02:00:00:00:00:01`; by default one that follows from the machine's name. */
  mac?: string;
  /** Bytes of payload in a frame; by default that of the tap device, or 65520 for `user`. */
  mtu?: number;
  rateLimits?: NetworkRateLimits;
  /** Ports of the host that lead to the guest, with `user`. */
  forwards?: PortForward[];
  /** With `user`: the guest reaches what listens on the host's loopback, at 10.0.2.2. By default it does not. */
  hostLoopback?: boolean;
  /** With `tap`: address and prefix length, such as `192.168.7.2/24`, that tsvm's init gives the interface. */
  address?: string;
  /** With `address`: where packets for other networks go. */
  gateway?: string;
  /** With `address`: name servers, two at most. */
  dns?: string[];
}

/** Sockets between programs of the guest (AF_VSOCK) and unix sockets of the host. docs/vsock.md. */
export interface VsockDescription {
  /** The guest's context ID, from 3 on; 3 by default. Several guests may have the same. */
  cid?: number;
  /**
   * The unix socket by which programs of the host get into the guest; what the guest connects to is PATH_PORT. By default one in a
   * temporary directory of its own, see `Machine.vsockPath`.
   */
  path?: string;
}

/**
 * A memory balloon: what the guest gives up goes back to the host. Also for what the guest frees of itself, and for what it says of
 * its memory. docs/devices.md.
 */
export interface BalloonDescription {
  /** Bytes that the guest is to give up from the start; 0 by default. `Machine.setBalloon` changes it. */
  size?: number;
  /** The guest tells which of its pages are free; by default it does. */
  reporting?: boolean;
  /** A guest that runs out of memory takes back what it has given up; by default it may. */
  deflateOnOom?: boolean;
  /** Seconds after which the guest is asked for its figures, again and again; 0: never. By default when somebody looks at them. */
  statsInterval?: number;
}

/** A command that tsvm's init runs in the guest. */
export interface CommandDescription {
  /** Program and arguments; the program is looked up in the guest's PATH. */
  argv: string[];
  env?: Record<string, string>;
  /** Working directory in the guest; "/" by default. */
  cwd?: string;
  /** Run it on the console as its terminal instead of on three separate streams. */
  terminal?: boolean;
}

/** All that a machine can be asked to be. */
export interface MachineDescription {
  name?: string;
  /** Number of virtual processors. */
  cpus: number;
  /** Bytes of RAM. */
  memory: number;
  hugePages?: "none" | "transparent" | "hugetlb";
  /** Path of a bzImage or ELF vmlinux; the bundled kernel where it is left out. */
  kernel?: string;
  /**
   * Where the kernel comes from if no `kernel` is given: from the first disk's own boot configuration, which brings its initrd and
   * command line, or `bundled`. By default from the first disk of a machine whose root it is, and that runs no `command`.
   */
  kernelSource?: "disk" | "bundled";
  /** With a kernel from the disk: which entry of its boot menu, by title, id or kernel; the default one if left out. */
  bootEntry?: string;
  /** Path of an initial RAM disk, instead of the small one with tsvm's init. */
  initrd?: string;
  /** Added at the end of the kernel command line. */
  append?: string;
  /** Disks in the order vda, vdb, …, after the bundled root where that is used. */
  disks?: DiskDescription[];
  /** Network interfaces; none by default. */
  networks?: NetworkDescription[];
  /** A vsock device; none by default, but for the agent. */
  vsock?: VsockDescription;
  /** A memory balloon. */
  balloon?: BalloonDescription | false;
  /**
   * The guest has an agent, for `Machine.exec` and the like: it gets a vsock device, and tsvm's init starts the agent. With `only`,
   * nothing else runs, neither shell nor command, and the machine goes on until it is stopped. docs/agent.md.
   */
  agent?: boolean | "only";
  /**
   * What the guest's root is: the first of `disks`, or a throw-away copy of the bundled root file system. By default the
   * first disk if there is one; the bundled root needs tsvm's init (the bundled kernel, or a `command`).
   */
  root?: "disk" | "bundled";
  /** Device of the root file system, such as `/dev/vda2`; by default found from the first disk's partition table. */
  rootDevice?: string;
  /**
   * `virtio` adds a virtio console to a guest that boots by itself and has a driver for it; the serial port is always there.
   * With tsvm's init the shell is on a virtio console in any case.
   */
  console?: "serial" | "virtio";
  /**
   * Describes the machine in ACPI tables: a power button, power off, and virtio devices for kernels that take none from the
   * command line, as those of distributions. By default on, but for the bundled kernel, which needs none.
   */
  acpi?: boolean;
  /** Run this instead of an interactive shell. */
  command?: CommandDescription;
}

const PAGE = 4096;
const SMALLEST_MEMORY = 1 * MiB;
export const SERIAL_LENGTH = 20;
/** Disks, networks, vsock and balloon: as many as there are interrupt lines, but for the random number generator and the console. */
export const MAX_DISKS = 14;

/** Throws a {@link DescriptionError} for the first thing that is wrong. `hostCpuLimit` is KVM's. */
export function validateDescription(description: MachineDescription, hostCpuLimit: number): void {
  checkShape(description);
  const { cpus, memory, disks = [], networks = [], command } = description;
  const vsock = vsockOf(description);
  if (!Number.isInteger(cpus) || cpus < 1) {
    throw new DescriptionError(`cpus: ${cpus} is not a whole number of at least 1`);
  }
  if (cpus > hostCpuLimit) {
    throw new DescriptionError(
      `cpus: ${cpus} is more than this host's KVM allows`,
      `use at most ${hostCpuLimit}`,
    );
  }
  if (memory > Number.MAX_SAFE_INTEGER) {
    throw new DescriptionError(
      `memory: ${memory} bytes are more than any host has`,
      "ask for less (--memory)",
    );
  }
  if (!Number.isSafeInteger(memory) || memory < SMALLEST_MEMORY) {
    throw new DescriptionError(
      `memory: ${memory} bytes is less than 1 MiB`,
      "a Linux guest wants 64 MiB or more",
    );
  }
  if (memory % PAGE !== 0) {
    throw new DescriptionError(`memory: ${memory} bytes is not a multiple of the 4096-byte page`);
  }
  if (memory > totalmem()) {
    throw new DescriptionError(
      `memory: ${Math.round(memory / MiB)} MiB is more than the ${Math.floor(totalmem() / MiB)} MiB of this host`,
      "ask for less (--memory)",
    );
  }
  if (disks.length > MAX_DISKS) {
    throw new DescriptionError(`disks: ${disks.length} are more than the ${MAX_DISKS} that a machine takes`);
  }
  if (disks.length + networks.length > MAX_DISKS) {
    throw new DescriptionError(
      `networks: ${networks.length}, with ${disks.length} disks, are more than the ${MAX_DISKS} devices that a machine takes`,
    );
  }
  for (const disk of disks) validateDisk(disk);
  validateNetworks(networks);
  if (vsock !== undefined) {
    validateVsock(vsock);
    if (disks.length + networks.length + 1 > MAX_DISKS) {
      throw new DescriptionError(
        `vsock: with ${disks.length} disks and ${networks.length} networks, more than the ${MAX_DISKS} devices that a machine takes`,
      );
    }
  }
  validateBalloon(description);
  const orders = disks.map(({ bootOrder }) => bootOrder).filter((order) => order !== undefined);
  const twice = orders.find((order, index) => orders.indexOf(order) !== index);
  if (twice !== undefined) throw new DescriptionError(`disks: two have the boot order ${twice}`);
  for (const text of [description.name ?? "", description.rootDevice ?? ""]) {
    if (text.includes("\0")) throw new DescriptionError("name or rootDevice: contains a NUL character");
  }
  if (command !== undefined) {
    validateCommand(command);
    if (description.agent === "only")
      throw new DescriptionError('agent: "only" and a command', "leave one of them out, or say agent: true");
  }
}

/** The vsock device that is asked for, or that the agent needs. */
export function vsockOf({ vsock, agent }: MachineDescription): VsockDescription | undefined {
  return vsock ?? (agent === undefined || agent === false ? undefined : {});
}

function validateDisk({ path, serial = "", bootOrder, rateLimits = {} }: DiskDescription): void {
  if (serial.length > SERIAL_LENGTH || !/^[\x20-\x7e]*$/.test(serial)) {
    throw new DescriptionError(
      `disk ${path}: the serial number is not at most 20 printable ASCII characters`,
    );
  }
  if (bootOrder !== undefined && (!Number.isInteger(bootOrder) || bootOrder < 1)) {
    throw new DescriptionError(`disk ${path}: boot order ${bootOrder} is not a whole number of at least 1`);
  }
  checkRateLimits(rateLimits as Record<string, RateLimit>, `disk ${path}: rate limit`);
}

function validateCommand({ argv, env = {}, cwd = "/" }: CommandDescription): void {
  if (argv.length === 0 || argv[0] === "") throw new DescriptionError("command: empty");
  for (const text of [...argv, ...Object.entries(env).flat(), cwd]) {
    if (text.includes("\0")) throw new DescriptionError("command: contains a NUL character");
  }
  for (const name of Object.keys(env)) {
    if (name === "" || name.includes("="))
      throw new DescriptionError(`command: "${name}" is no variable name`);
  }
}
