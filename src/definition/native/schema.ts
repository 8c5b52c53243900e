/**
 * The native format: a zod value, from which the TypeScript types and the published JSON Schema derive. docs/definition.md.
 *
 * The names are those of MachineDescription, so that a file and a program say the same in the same words.
 */
import * as z from "zod/mini";
import { RESTART } from "../restart.ts";
import {
  argument,
  contextId,
  count,
  duration,
  flag,
  FORWARD_RULE,
  longText,
  mac,
  name,
  object,
  path,
  port,
  portForward,
  rate,
  size,
  text,
  uuid,
  variableName,
} from "./leaves.ts";

/** The version of the format that this tsvm reads and writes. */
export const VERSION = 1;

/** Adds the text that an editor shows for a key. */
function about<T extends z.ZodMiniType>(schema: T, description: string): z.ZodMiniOptional<T> {
  return z.optional(schema).check(z.describe(description)) as z.ZodMiniOptional<T>;
}

const rateLimit = object({
  bytesPerSecond: about(rate, "Bytes per second, such as 10M."),
  bytesBurst: about(rate, "Bytes that may be moved at once after a pause; one second's worth by default."),
  operationsPerSecond: about(count, "Requests per second."),
  operationsBurst: about(
    count,
    "Requests that may be started at once after a pause; one second's worth by default.",
  ),
});

const disk = object({
  path: path.check(z.describe("A raw or qcow2 image, or a block device; relative to this file.")),
  readOnly: about(flag, "The guest may not write."),
  overlay: about(flag, "What the guest writes goes to a temporary file that vanishes with the machine."),
  ephemeral: about(flag, "As overlay, for raw images, in memory."),
  format: about(z.enum(["raw", "qcow2"]), "By default what the image looks like."),
  serial: about(
    z.string().check(z.regex(/^[\x20-\x7e]{0,20}$/, "must be at most 20 ASCII characters")),
    "Serial number that the guest sees, at most 20 ASCII characters.",
  ),
  cache: about(
    z.enum(["writeback", "none", "unsafe"]),
    "writeback: through the host's page cache (default). none: past it. unsafe: flushes are not waited for.",
  ),
  rateLimits: about(
    object({
      total: about(rateLimit, "For reads and writes together."),
      read: about(rateLimit, "For reads."),
      write: about(rateLimit, "For writes."),
    }),
    "How much the guest may read and write.",
  ),
  bootOrder: about(count, "Which disk the kernel is looked for in first: the one with the lowest number."),
});

const forward = object({
  protocol: about(z.enum(["tcp", "udp"]), "tcp by default."),
  address: about(text, "IPv4 or IPv6 address of the host on which to listen; all of them by default."),
  hostPort: port.check(z.describe("Port of the host.")),
  guestPort: port.check(z.describe("Port of the guest.")),
});

const network = object({
  type: z
    .enum(["user", "tap"])
    .check(z.describe("user: through passt, without privileges. tap: a tap device that exists on the host.")),
  tap: about(text, "With tap: the device's name."),
  mac: about(mac, "Ethernet address; by default one that follows from the VM's name."),
  mtu: about(count, "Bytes of payload in a frame."),
  rateLimits: about(
    object({
      total: about(rateLimit, "For both directions together."),
      receive: about(rateLimit, "For what the guest receives."),
      transmit: about(rateLimit, "For what the guest sends."),
    }),
    "How much may pass. Operations are frames.",
  ),
  forwards: about(
    z.array(z.union([portForward, forward], `${FORWARD_RULE}, or a mapping with hostPort and guestPort`)),
    "With user: ports of the host that lead to the guest, such as 8080:80.",
  ),
  hostLoopback: about(flag, "With user: the guest reaches the host's loopback, at 10.0.2.2."),
  address: about(text, "With tap: address and prefix length that tsvm's init sets, such as 192.168.7.2/24."),
  gateway: about(text, "With address: where packets for other networks go."),
  dns: about(z.array(text), "With address: name servers, two at most."),
});

const vsock = object({
  cid: about(contextId, "The guest's context ID; 3 by default."),
  path: about(path, "The unix socket of the host that leads into the guest; relative to this file."),
});

const balloon = object({
  size: about(size, "What the guest is to give up from the start; 0 by default."),
  reporting: about(flag, "The guest tells which of its pages are free; true by default."),
  deflateOnOom: about(
    flag,
    "A guest that runs out of memory takes back what it has given up; true by default.",
  ),
  statsInterval: about(
    duration,
    "How often the guest is asked for its figures; by default when somebody looks.",
  ),
});

const command = object({
  argv: z.array(argument).check(z.minLength(1, "must name a program"), z.describe("Program and arguments.")),
  env: about(z.record(variableName, argument), "Environment variables."),
  cwd: about(path, "Working directory in the guest; / by default."),
  terminal: about(flag, "Run it on the console as its terminal."),
});

const vmShape = {
  title: about(text, "A short text for people."),
  description: about(longText, "A longer text for people."),
  uuid: about(uuid, "The machine's UUID."),
  labels: about(z.record(text.check(z.minLength(1)), text), "What you want to find or group machines by."),
  cpus: about(count, "Number of virtual processors; 1 by default."),
  memory: about(size, "Guest memory, such as 512M or 2G; 128M by default."),
  hugePages: about(z.enum(["none", "transparent", "hugetlb"]), "What backs guest memory: none by default."),
  balloon: about(
    z.union([flag, balloon], "must be true, false, or a mapping"),
    "A memory balloon: what the guest gives up, and what it tells to be free, goes back to the host.",
  ),
  kernel: about(
    path,
    "Path of a bzImage or ELF vmlinux; bundled: the one that comes with tsvm; disk: the one that the first disk would boot. By default disk if there is a disk and no command, else bundled.",
  ),
  bootEntry: about(
    text,
    "With the kernel from the disk: another entry of its boot menu, by title, id or kernel.",
  ),
  initrd: about(path, "Path of an initial RAM disk."),
  append: about(
    z.union([longText, z.array(text)], "must be a text or a list of texts"),
    "Added to the kernel command line.",
  ),
  disks: about(
    z.array(z.union([path, disk], "must be a path, or a mapping with path")),
    "vda, vdb, …: paths, or mappings with path.",
  ),
  networks: about(z.array(network), "Network interfaces: eth0, eth1, …; none by default."),
  vsock: about(vsock, "Sockets between programs of the guest and unix sockets of the host."),
  agent: about(
    flag,
    "Whether tsvm exec and tsvm cp get a way into the guest; by default they do in the background.",
  ),
  root: about(
    z.enum(["disk", "bundled"]),
    "What the guest's root is: the first disk, or a throw-away copy of the bundled root file system.",
  ),
  rootDevice: about(
    text,
    "Device of the root file system, such as /dev/vda2; by default found in the first disk.",
  ),
  console: about(
    z.enum(["serial", "virtio"]),
    "virtio adds a virtio console (hvc0) to a guest that boots by itself.",
  ),
  acpi: about(flag, "ACPI tables for the kernel: by default yes, but for the bundled kernel."),
  command: about(
    z.union(
      [argument, z.array(argument).check(z.minLength(1, "must name a program")), command],
      "must be a text, a list of texts, or a mapping with argv",
    ),
    "Run this instead of a shell or the disk's own init. A text is run by sh -c.",
  ),
  restart: about(
    z.string().check(z.regex(RESTART, "must be no, on-failure, on-failure:N, always or unless-stopped")),
    "When a background VM is started again: no (default), on-failure, on-failure:N (at most N times), always, unless-stopped.",
  ),
  stopTimeout: about(
    duration,
    "How long the guest may take to shut down before it is forced off; 30s by default.",
  ),
  dependsOn: about(z.array(text), "Names of VMs of this file that are started before this one."),
};

const version = z
  .literal(VERSION, `this tsvm reads version ${VERSION}`)
  .check(z.describe("The version of this format."));

/** One VM, in a file with several. */
export const vmSchema = object(vmShape);

/** `version` and `vms`. */
export const fileSchema = object({
  version,
  vms: z.record(z.string(), vmSchema).check(z.describe("The VMs by name.")),
});

/** The short form: the VM itself at the top. */
export const singleSchema = object({
  version,
  name: about(name, "The VM's name; that of the file by default."),
  ...vmShape,
});

// Said once in the JSON Schema.
for (const [id, schema] of Object.entries({ disk, network, forward, rateLimit, vsock, balloon, command }))
  z.globalRegistry.add(schema, { id });

export type NativeVm = z.infer<typeof vmSchema>;
export type NativeFile = z.infer<typeof fileSchema>;
export type NativeSingle = z.infer<typeof singleSchema>;
export type NativeDisk = z.infer<typeof disk>;
export type NativeNetwork = z.infer<typeof network>;
export type NativeVsock = z.infer<typeof vsock>;
export type NativeRateLimit = z.infer<typeof rateLimit>;
