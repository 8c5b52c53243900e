/** Reads Firecracker's JSON configuration. What becomes of each key: docs/definition.md. */
import type { DiskDescription, MachineDescription } from "../../machine/description.ts";
import { checkMachine } from "../check-machine.ts";
import type { VmDefinition } from "../definition.ts";
import { given } from "../given.ts";
import { splitCommandLine } from "../kernel-parameters.ts";
import { NAME } from "../names.ts";
import { explainIssues } from "../native/explain.ts";
import type { Problems } from "../problems.ts";
import { parseTree, type Tree } from "../tree/parse-tree.ts";
import { readBalloon } from "./balloon.ts";
import { readInterface, INTERFACE_KEYS } from "./networks.ts";
import { readRateLimit } from "./rate-limits.ts";
import { configSchema, type FirecrackerConfig, type FirecrackerDrive } from "./schema.ts";

const MiB = 2 ** 20;
/** Firecracker's defaults. */
const DEFAULTS = { vcpu_count: 1, mem_size_mib: 128 };

/** What the guest would miss. */
const LACKING = {
  "mmds-config": "metadata service",
  "memory-hotplug": "memory hotplug",
  pmem: "persistent memory",
  "cpu-config": "templates for processors",
} as const;
/** What it would not. */
const LEFT_OUT = {
  logger: "tsvm tells its errors on stderr",
  metrics: "tsvm has figures of its own (--json)",
  serial: "tsvm shows the console itself",
} as const;

/** What is wrong goes to `problems`; the result is of use only if there are no errors. */
export function readFirecracker(problems: Problems): VmDefinition[] {
  const tree = parseTree(problems);
  if (tree === undefined) return [];
  // Firecracker writes null for what is not there.
  const result = configSchema.safeParse(withoutNulls(tree.value));
  if (!result.success) {
    explainIssues(result.error.issues, tree, problems);
    return [];
  }
  const config = result.data;
  tellLess(config, tree, problems);
  const machine = toMachine(config, tree, problems);
  checkMachine(machine, problems, (...keys) => tree.at(placeOf(keys)));
  return [{ kind: "vm", name: machine.name!, machine }];
}

/** Where the properties of a machine come from. */
function placeOf([key, index, property = ""]: readonly (string | number)[]): readonly PropertyKey[] {
  if (key === "cpus") return ["machine-config", "vcpu_count"];
  if (key === "memory") return ["machine-config", "mem_size_mib"];
  if (key === "disks") return index === undefined ? ["drives"] : ["drives", index, "path_on_host"];
  if (key === "networks") {
    const place = ["network-interfaces", ...(index === undefined ? [] : [index])];
    const name = INTERFACE_KEYS[property];
    return name === undefined ? place : [...place, name];
  }
  if (key === "balloon") return ["balloon"];
  if (key === "kernel") return ["boot-source", "kernel_image_path"];
  if (key === "initrd") return ["boot-source", "initrd_path"];
  return ["boot-source"];
}

function tellLess(config: FirecrackerConfig, tree: Tree, problems: Problems): void {
  for (const [key, name] of Object.entries(LACKING) as [keyof typeof LACKING, string][]) {
    if (isThere(config[key])) problems.lacking(`${key}: tsvm has no ${name} yet`, tree.atKey([key]));
  }
  for (const [key, reason] of Object.entries(LEFT_OUT) as [keyof typeof LEFT_OUT, string][]) {
    if (isThere(config[key])) problems.warning(`${key}: left out, as ${reason}`, tree.atKey([key]));
  }
  const { smt, ht_enabled, cpu_template, track_dirty_pages } = config["machine-config"] ?? {};
  const at = (key: string): ReturnType<Tree["atKey"]> => tree.atKey(["machine-config", key]);
  if (smt === true || ht_enabled === true) {
    problems.warning("smt: the guest sees cores of one thread each", at(smt === true ? "smt" : "ht_enabled"));
  }
  if (cpu_template !== undefined && cpu_template !== "None") {
    problems.lacking(
      `cpu_template: tsvm shows the guest the host's processor, not ${cpu_template}`,
      at("cpu_template"),
    );
  }
  if (config.balloon?.free_page_hinting === true) {
    problems.warning(
      "free_page_hinting: tsvm does not ask for hints",
      tree.atKey(["balloon", "free_page_hinting"]),
    );
  }
  if (track_dirty_pages === true) {
    problems.warning("track_dirty_pages: tsvm has no snapshots yet", at("track_dirty_pages"));
  }
}

function isThere(value: unknown): boolean {
  return value !== undefined && !(Array.isArray(value) && value.length === 0);
}

function toMachine(config: FirecrackerConfig, tree: Tree, problems: Problems): MachineDescription {
  const { source } = problems;
  const { kernel_image_path, boot_args, initrd_path } = config["boot-source"];
  const { vcpu_count, mem_size_mib, huge_pages } = config["machine-config"] ?? DEFAULTS_WITHOUT;
  const drives = (config.drives ?? []).flatMap(
    (drive, index) => readDrive(drive, index, tree, problems) ?? [],
  );
  const roots = drives.filter(({ drive }) => drive.is_root_device);
  if (roots.length > 1)
    problems.error(
      "two drives have is_root_device: true",
      tree.at(["drives", roots[1]!.index, "is_root_device"]),
    );
  // The root device is the first one that the guest sees.
  const disks = [...roots, ...drives.filter(({ drive }) => !drive.is_root_device)].map(({ disk }) => disk);
  const split = splitCommandLine(boot_args ?? "", disks[0]);
  const [root] = roots;
  const rootDevice =
    root === undefined
      ? split.rootDevice
      : root.drive.partuuid === undefined
        ? "/dev/vda"
        : `PARTUUID=${root.drive.partuuid}`;
  const networks = (config["network-interfaces"] ?? []).map((network, index) =>
    readInterface(network, (...keys) => tree.atKey(["network-interfaces", index, ...keys]), problems),
  );
  return {
    name: nameOfFile(source.path),
    cpus: vcpu_count,
    memory: mem_size_mib * MiB,
    ...(huge_pages === "2M" ? { hugePages: "hugetlb" } : {}),
    ...(config.balloon === undefined ? {} : { balloon: readBalloon(config.balloon) }),
    kernel: source.resolve(kernel_image_path),
    ...(initrd_path === undefined ? {} : { initrd: source.resolve(initrd_path) }),
    ...given({ append: split.append, rootDevice }),
    ...(disks.length === 0 ? {} : { disks }),
    ...(networks.length === 0 ? {} : { networks }),
    ...(config.vsock === undefined
      ? {}
      : { vsock: { cid: config.vsock.guest_cid, path: source.resolve(config.vsock.uds_path) } }),
  };
}

const DEFAULTS_WITHOUT = { ...DEFAULTS, huge_pages: undefined };

interface ReadDrive {
  readonly drive: FirecrackerDrive;
  readonly index: number;
  readonly disk: DiskDescription;
}

function readDrive(
  drive: FirecrackerDrive,
  index: number,
  tree: Tree,
  problems: Problems,
): ReadDrive | undefined {
  const at = (key: string): ReturnType<Tree["atKey"]> => tree.atKey(["drives", index, key]);
  if (drive.socket !== undefined) {
    problems.lacking("socket: tsvm has no vhost-user drives", at("socket"));
    return undefined;
  }
  if (drive.path_on_host === undefined) {
    problems.error("path_on_host is missing", tree.at(["drives", index]));
    return undefined;
  }
  if (drive.io_engine === "Async") problems.warning("io_engine: tsvm has one of its own", at("io_engine"));
  const total = readRateLimit(drive.rate_limiter, problems, (...keys) =>
    tree.at(["drives", index, "rate_limiter", ...keys]),
  );
  const disk: DiskDescription = {
    path: problems.source.resolve(drive.path_on_host),
    ...(drive.is_read_only === true ? { readOnly: true } : {}),
    // Firecracker knows no other.
    format: "raw",
    ...(drive.cache_type === undefined
      ? {}
      : { cache: drive.cache_type === "Unsafe" ? "unsafe" : "writeback" }),
    ...(total === undefined ? {} : { rateLimits: { total } }),
  };
  return { drive, index, disk };
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== null);
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutNulls(inner)]));
}

/** Firecracker's configuration has no name. */
function nameOfFile(path: string): string {
  const base = path.slice(path.lastIndexOf("/") + 1).replace(/\.json$/i, "");
  const name = base.replaceAll(/[^A-Za-z0-9_.-]+/g, "-").slice(0, 63);
  return NAME.test(name) ? name : "vm";
}
