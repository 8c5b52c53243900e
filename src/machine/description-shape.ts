/**
 * Which keys a description has, and what may stand there. TypeScript sees only literals; a program in JavaScript, or one that puts
 * a description together, would otherwise boot with `readonly` in place of `readOnly`, and a disk that can be written to.
 * No schema library: every boot would have to load it.
 */
import { didYouMean } from "../suggestion.ts";
import { DescriptionError } from "./description-error.ts";

type Shape =
  | "string"
  | "number"
  | "boolean"
  | { readonly oneOf: readonly (string | boolean)[] }
  | { readonly orFalse: Shape }
  | { readonly listOf: Shape }
  | { readonly mapOf: Shape }
  | { readonly keys: Readonly<Record<string, Shape>> };

const RATE_LIMIT: Shape = {
  keys: {
    bytesPerSecond: "number",
    bytesBurst: "number",
    operationsPerSecond: "number",
    operationsBurst: "number",
  },
};

const DISK: Shape = {
  keys: {
    path: "string",
    readOnly: "boolean",
    ephemeral: "boolean",
    overlay: "boolean",
    format: { oneOf: ["raw", "qcow2"] },
    serial: "string",
    cache: { oneOf: ["writeback", "none", "unsafe"] },
    rateLimits: { keys: { total: RATE_LIMIT, read: RATE_LIMIT, write: RATE_LIMIT } },
    bootOrder: "number",
  },
};

const NETWORK: Shape = {
  keys: {
    type: { oneOf: ["user", "tap"] },
    tap: "string",
    mac: "string",
    mtu: "number",
    rateLimits: { keys: { total: RATE_LIMIT, receive: RATE_LIMIT, transmit: RATE_LIMIT } },
    forwards: {
      listOf: {
        keys: {
          protocol: { oneOf: ["tcp", "udp"] },
          address: "string",
          hostPort: "number",
          guestPort: "number",
        },
      },
    },
    hostLoopback: "boolean",
    address: "string",
    gateway: "string",
    dns: { listOf: "string" },
  },
};

const COMMAND: Shape = {
  keys: {
    argv: { listOf: "string" },
    env: { mapOf: "string" },
    cwd: "string",
    terminal: "boolean",
  },
};

const DESCRIPTION: Shape = {
  keys: {
    name: "string",
    cpus: "number",
    memory: "number",
    hugePages: { oneOf: ["none", "transparent", "hugetlb"] },
    kernel: "string",
    kernelSource: { oneOf: ["disk", "bundled"] },
    bootEntry: "string",
    initrd: "string",
    append: "string",
    disks: { listOf: DISK },
    networks: { listOf: NETWORK },
    agent: { oneOf: [true, false, "only"] },
    vsock: { keys: { cid: "number", path: "string" } },
    balloon: {
      orFalse: {
        keys: { size: "number", reporting: "boolean", deflateOnOom: "boolean", statsInterval: "number" },
      },
    },
    root: { oneOf: ["disk", "bundled"] },
    rootDevice: "string",
    console: { oneOf: ["serial", "virtio"] },
    acpi: "boolean",
    command: COMMAND,
  },
};

const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  "": ["cpus", "memory"],
  disks: ["path"],
  networks: ["type"],
  command: ["argv"],
};

/** Throws a DescriptionError for the first key that does not exist, is missing, or has what it cannot have. */
export function checkShape(description: unknown): void {
  check(description, DESCRIPTION, "");
}

function check(value: unknown, shape: Shape, place: string): void {
  if (typeof shape === "string") {
    if (typeof value !== shape) throw wrong(value, place, `a ${shape}`);
  } else if ("oneOf" in shape) {
    if (!shape.oneOf.includes(value as string | boolean))
      throw wrong(value, place, `one of ${shape.oneOf.join(", ")}`);
  } else if ("orFalse" in shape) {
    if (value !== false) check(value, shape.orFalse, place);
  } else if ("listOf" in shape) {
    if (!Array.isArray(value)) throw wrong(value, place, "a list");
    for (const [index, item] of value.entries()) check(item, shape.listOf, `${place}[${index}]`);
  } else if ("mapOf" in shape) {
    for (const [key, item] of entriesOf(value, place)) check(item, shape.mapOf, `${place}.${key}`);
  } else checkKeys(value, shape.keys, place);
}

function checkKeys(value: unknown, keys: Readonly<Record<string, Shape>>, place: string): void {
  const at = (key: string): string => (place === "" ? key : `${place}.${key}`);
  const entries = entriesOf(value, place);
  for (const [key, item] of entries) {
    const shape = Object.hasOwn(keys, key) ? keys[key] : undefined;
    if (shape === undefined) {
      throw new DescriptionError(`${at(key)}: there is no such property`, didYouMean(key, Object.keys(keys)));
    }
    if (item !== undefined) check(item, shape, at(key));
  }
  const present = new Set(entries.filter(([, item]) => item !== undefined).map(([key]) => key));
  const missing = (REQUIRED[place.replace(/\[\d+\]$/, "")] ?? []).find((key) => !present.has(key));
  if (missing !== undefined) throw new DescriptionError(`${at(missing)}: is missing`);
}

function entriesOf(value: unknown, place: string): [string, unknown][] {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong(value, place, "an object");
  return Object.entries(value);
}

function wrong(value: unknown, place: string, expected: string): DescriptionError {
  const seen =
    typeof value === "string" ? JSON.stringify(value) : Array.isArray(value) ? "a list" : String(value);
  return new DescriptionError(`${place === "" ? "description" : place}: ${seen} is not ${expected}`);
}
