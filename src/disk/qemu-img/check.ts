/** Whether an image's own tables are in order. */
import { closeSync } from "node:fs";
import { DiskError } from "../errors.ts";
import { openImageFile } from "../image-path.ts";
import { explainFailure } from "./errors.ts";
import { fileArgument } from "./file-name.ts";
import { askQemuImg, type Control } from "./run.ts";

export interface CheckReport {
  readonly path: string;
  /** As qemu-img calls it. */
  readonly format: string;
  /** What it is in now: `leaks` waste space and do no harm. */
  readonly state: "clean" | "leaks" | "corrupt";
  readonly corruptions: number;
  readonly leaks: number;
  readonly repaired: { readonly corruptions: number; readonly leaks: number };
  /** Undefined for formats without. */
  readonly clusters:
    | {
        readonly total: number;
        readonly allocated: number;
        readonly compressed: number;
        readonly fragmented: number;
      }
    | undefined;
  /** What was found, as qemu-img puts it. */
  readonly details: readonly string[];
}

export interface CheckOptions {
  /** As qemu-img calls it; by default the first bytes tell. */
  readonly format?: string | undefined;
  /** `leaks` gives unused clusters back, `all` mends what it can, and may choose wrongly. */
  readonly repair?: "leaks" | "all" | undefined;
}

/** Of qemu-img, for formats that have nothing to check. */
const NOT_SUPPORTED = 63;

/** Throws a DiskError for what could not be checked, and a QemuImgMissingError. */
export async function checkImage(
  path: string,
  { format, repair }: CheckOptions,
  { signal }: Control,
): Promise<CheckReport> {
  closeSync(openImageFile(path, false).fd); // or says why not
  const args = [
    ...["check", "--output=json"],
    ...(format === undefined ? [] : ["-f", format]),
    ...(repair === undefined ? [] : ["-r", repair]),
    fileArgument(path),
  ];
  const { status, stdout, stderr } = await askQemuImg({ path }, args, { signal });
  if (status === NOT_SUPPORTED) {
    throw new DiskError(path, "its format has no tables that could be checked, as is so with raw images");
  }
  const found = parse(stdout);
  if (found === undefined) throw explainFailure({ path }, stderr);
  const count = (name: string): number => (typeof found[name] === "number" ? found[name] : 0);
  if (count("check-errors") > 0) {
    throw new DiskError(path, `the check could not be completed: ${stderr.split("\n")[0] ?? ""}`);
  }
  const [corruptions, leaks] = [count("corruptions"), count("leaks")];
  return {
    path,
    format: String(found.format),
    state: corruptions > 0 ? "corrupt" : leaks > 0 ? "leaks" : "clean",
    corruptions,
    leaks,
    repaired: { corruptions: count("corruptions-fixed"), leaks: count("leaks-fixed") },
    clusters:
      found["total-clusters"] === undefined
        ? undefined
        : {
            total: count("total-clusters"),
            allocated: count("allocated-clusters"),
            compressed: count("compressed-clusters"),
            fragmented: count("fragmented-clusters"),
          },
    details: stderr.split("\n").filter((line) => line !== ""),
  };
}

function parse(stdout: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(stdout.slice(stdout.indexOf("{"))) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
