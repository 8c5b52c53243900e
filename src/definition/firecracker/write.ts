/** A definition as Firecracker's JSON configuration. What cannot be said is told. */
import { SMALLEST_GUEST_CID } from "../../devices/virtio/vsock/cid.ts";
import type { DiskDescription, MachineDescription, VsockDescription } from "../../machine/description.ts";
import type { VmDefinition } from "../definition.ts";
import { joinCommandLine } from "../kernel-parameters.ts";
import type { Problems } from "../problems.ts";
import { tellUnsaid } from "../unsaid.ts";
import { writeBalloon } from "./balloon.ts";
import { writeInterfaces } from "./networks.ts";
import { writeRateLimiter } from "./rate-limits.ts";
import type { FirecrackerConfig, FirecrackerDrive } from "./schema.ts";

const MiB = 2 ** 20;
const FORMAT = "Firecracker's configuration";
const NOT_SAID = [
  "command",
  "root",
  "bootEntry",
  "console",
  "acpi",
  "agent",
  "uuid",
  "title",
  "description",
  "labels",
  "restart",
  "stopTimeout",
  "dependsOn",
] as const;
const MOST_CPUS = 32;

/** The format of every disk must be known. */
export function writeFirecracker(definition: VmDefinition, problems: Problems): string {
  const { machine } = definition;
  const { cpus, memory, kernel, initrd, disks = [], networks = [], hugePages, vsock, balloon } = machine;
  tellUnsaid(definition, FORMAT, NOT_SAID, problems);
  if (hugePages === "transparent")
    problems.lacking(`hugePages: ${FORMAT} has no transparent ones`, { element: "hugePages" });
  if (kernel === undefined) {
    problems.error(`${FORMAT} needs a kernel, and cannot name the bundled one or that of a disk`, {
      element: "kernel",
    });
  }
  if (cpus > MOST_CPUS) problems.error(`cpus: Firecracker has ${MOST_CPUS} at most`, { element: "cpus" });
  if (memory % MiB !== 0)
    problems.lacking("memory: Firecracker counts whole MiB", { element: "memory" }, "rounds it up");
  const root = rootOf(machine);
  const config: FirecrackerConfig = {
    "boot-source": {
      kernel_image_path: kernel ?? "",
      ...(initrd === undefined ? {} : { initrd_path: initrd }),
      // Firecracker adds the root device itself.
      boot_args: joinCommandLine(machine, root === undefined),
    },
    drives: disks.map((disk, index) => writeDrive(disk, index, index === 0 ? root : undefined, problems)),
    ...(networks.length === 0 ? {} : { "network-interfaces": writeInterfaces(networks, FORMAT, problems) }),
    "machine-config": {
      vcpu_count: cpus,
      mem_size_mib: Math.ceil(memory / MiB),
      ...(hugePages === "hugetlb" ? { huge_pages: "2M" } : {}),
    },
    ...(vsock === undefined ? {} : { vsock: writeVsock(vsock, problems) }),
    ...(balloon === undefined || balloon === false ? {} : { balloon: writeBalloon(balloon, problems) }),
    // A machine of tsvm has one in any case.
    entropy: {},
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

function writeVsock(
  { cid = SMALLEST_GUEST_CID, path }: VsockDescription,
  problems: Problems,
): NonNullable<FirecrackerConfig["vsock"]> {
  if (path === undefined) {
    problems.error(`vsock: ${FORMAT} needs the path of its unix socket`, { element: "vsock" }, "add path");
  }
  return { guest_cid: cid, uds_path: path ?? "" };
}

/** How the first drive is the root device, if that can be said of it. */
function rootOf({ rootDevice, disks = [] }: MachineDescription): { partuuid?: string } | undefined {
  if (disks.length === 0) return undefined;
  if (rootDevice === "/dev/vda") return {};
  return rootDevice?.startsWith("PARTUUID=") === true
    ? { partuuid: rootDevice.slice("PARTUUID=".length) }
    : undefined;
}

function writeDrive(
  disk: DiskDescription,
  index: number,
  root: { partuuid?: string } | undefined,
  problems: Problems,
): FirecrackerDrive {
  const { path, readOnly = false, overlay, ephemeral, format, serial, cache, rateLimits = {} } = disk;
  const element = `disks[${index}]`;
  if (format === "qcow2") {
    problems.error(
      `disk ${path}: Firecracker reads raw images only`,
      { element },
      `convert it: tsvm image convert ${path} NEW.raw`,
    );
  }
  const unsaid = {
    overlay: overlay === true,
    ephemeral: ephemeral === true,
    serial: serial !== undefined,
    "cache: none": cache === "none",
  };
  for (const [key, said] of Object.entries(unsaid)) {
    if (said) problems.lacking(`disk ${path}: ${key}: ${FORMAT} has no words for it`, { element });
  }
  const { total, read, write } = rateLimits;
  if (read !== undefined || write !== undefined) {
    problems.lacking(`disk ${path}: ${FORMAT} limits reads and writes together only`, { element });
  }
  const limiter = writeRateLimiter(total);
  return {
    drive_id: index === 0 && root !== undefined ? "rootfs" : `drive${index}`,
    path_on_host: path,
    is_root_device: root !== undefined,
    ...root,
    is_read_only: readOnly,
    ...(cache === undefined || cache === "none"
      ? {}
      : { cache_type: cache === "unsafe" ? "Unsafe" : "Writeback" }),
    ...(limiter === undefined ? {} : { rate_limiter: limiter }),
  };
}
