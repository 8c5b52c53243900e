/** What no machine can be made from, found before one is: with the place in the file, and all at once. */
import { LARGEST_GUEST_CID, SMALLEST_GUEST_CID } from "../devices/virtio/vsock/cid.ts";
import { networkProblems } from "../machine/description-network.ts";
import { MAX_DISKS, type MachineDescription } from "../machine/description.ts";
import { MOST_MEMORY } from "./limits.ts";
import type { Place, Problems } from "./problems.ts";
import { formatSize } from "./quantities.ts";

const PAGE = 4096;
const SMALLEST_MEMORY = 2 ** 20;
const MOST_CPUS = 254;

/**
 * Checks what does not depend on this host; `Machine.boot` checks the rest.
 *
 * @param at Where in the file a property of the machine comes from, such as `"disks", 0, "path"`.
 */
export function checkMachine(
  machine: MachineDescription,
  problems: Problems,
  at: (...keys: [keyof MachineDescription, ...(string | number)[]]) => Place,
): void {
  const {
    cpus,
    memory,
    kernel,
    kernelSource,
    initrd,
    command,
    root,
    disks = [],
    networks = [],
    vsock,
  } = machine;
  if (cpus > MOST_CPUS)
    problems.error(`cpus: ${cpus} are more than the ${MOST_CPUS} of the largest machine`, at("cpus"));
  if (memory < SMALLEST_MEMORY) {
    problems.error(
      `memory: ${memory} bytes are less than 1 MiB`,
      at("memory"),
      "a Linux guest wants 64M or more",
    );
  } else if (memory > MOST_MEMORY) {
    problems.error(
      `memory: ${formatSize(memory)} are more than any host has`,
      at("memory"),
      "write 512M or 2G",
    );
  } else if (memory % PAGE !== 0) {
    problems.error(`memory: ${memory} bytes are no multiple of the 4096-byte page`, at("memory"));
  }
  if (machine.balloon !== undefined && machine.balloon !== false) {
    const { size = 0 } = machine.balloon;
    if (machine.hugePages === "hugetlb") {
      problems.error(
        "balloon: memory of reserved huge pages (hugetlb) cannot be given back",
        at("balloon"),
        "leave the balloon out, or take transparent huge pages",
      );
    } else if (size > memory) {
      problems.error(
        `balloon: ${formatSize(size)} are more than the ${formatSize(memory)} of the machine`,
        at("balloon"),
      );
    }
  }
  if (kernel !== undefined) problems.names("kernel", kernel, at("kernel"));
  if (initrd !== undefined) problems.names("initrd", initrd, at("initrd"));
  for (const [index, { path }] of disks.entries()) {
    problems.names(`disks[${index}]`, path, at("disks", index, "path"));
  }
  if (disks.length > MAX_DISKS) {
    problems.error(`${disks.length} disks are more than the ${MAX_DISKS} that a machine takes`, at("disks"));
  }
  const devices = disks.length + networks.length + (vsock === undefined ? 0 : 1);
  if (disks.length <= MAX_DISKS && devices > MAX_DISKS) {
    const kinds = [
      ...(disks.length === 0 ? [] : [counted(disks.length, "disk")]),
      ...(networks.length === 0 ? [] : [counted(networks.length, "network")]),
      ...(vsock === undefined ? [] : ["a vsock device"]),
    ];
    problems.error(
      `${kinds.join(" and ")} are more than the ${MAX_DISKS} devices that a machine takes`,
      at(networks.length === 0 ? "vsock" : "networks"),
    );
  }
  for (const { path, message, hint } of networkProblems(networks)) {
    problems.error(message, at(...(path as ["networks"])), hint);
  }
  for (const [index, { path }] of disks.entries()) {
    const first = disks.findIndex((other) => other.path === path);
    if (first !== index && !(disks[first]!.readOnly === true && disks[index]!.readOnly === true)) {
      problems.error(
        `the disk ${path} is there twice`,
        at("disks", index, "path"),
        "a disk has one writer, or several readers (readOnly)",
      );
    }
  }
  const { cid = SMALLEST_GUEST_CID } = vsock ?? {};
  if (cid < SMALLEST_GUEST_CID || cid > LARGEST_GUEST_CID) {
    problems.error(
      `vsock: the context ID ${cid} is not one of ${SMALLEST_GUEST_CID} to ${LARGEST_GUEST_CID}`,
      at("vsock", "cid"),
    );
  }
  const ownInit =
    initrd === undefined && kernelSource !== "disk" && (kernel === undefined || command !== undefined);
  if (kernelSource === "disk" && disks.length === 0) {
    problems.error("kernel: disk, and there is no disk", at("kernel"));
  }
  if (command !== undefined && initrd !== undefined) {
    problems.error(
      "command: a command needs tsvm's own init, which the initrd replaces",
      at("command"),
      "leave out one of them",
    );
  }
  if (command !== undefined && kernelSource === "disk") {
    problems.error(
      "command: a command needs tsvm's own init, and a kernel from the disk starts the disk's",
      at("command"),
      "kernel: bundled runs it",
    );
  }
  if (root === "bundled" && !ownInit) {
    problems.error(
      "root: the bundled root file system needs tsvm's own init",
      at("root"),
      "leave out initrd, or give a command",
    );
  }
  if (root === "disk" && disks.length === 0) problems.error("root: disk, and there is no disk", at("root"));
  if (
    machine.bootEntry !== undefined &&
    (kernel !== undefined || kernelSource === "bundled" || disks.length === 0)
  ) {
    problems.error("bootEntry: the kernel does not come from a disk", at("bootEntry"), "leave it out");
  }
}

function counted(count: number, name: string): string {
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}
