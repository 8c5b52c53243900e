/** `tsvm image info`: what an image is, and what it is based on. */
import { formatBytes } from "../../boot/quantities.ts";
import { imageInfo, type ImageInfo, type ImageInfoResult, type Qcow2Info } from "../../disk/info.ts";
import type { ImageFormat } from "../../disk/plan.ts";
import { ExitCode } from "../exit-codes.ts";
import { print } from "../output.ts";
import { snapshotTable } from "./snapshot-table.ts";
import { printable, toJson, warn } from "./text.ts";

interface InfoFlags {
  readonly format?: ImageFormat;
  readonly json?: boolean;
}

/** Status where something below the image is missing or cannot be used. */
const INCOMPLETE = 1;

/** Runs the command; the result is the exit status. */
export function imageInfoCommand(path: string, { format, json }: InfoFlags): number {
  const result = imageInfo(path, format);
  const problem = backingProblem(result.image);
  if (json === true) print(toJson(result));
  else show(result);
  if (problem === undefined) return ExitCode.Ok;
  warn([problem]);
  return INCOMPLETE;
}

function backingProblem(image: ImageInfo): string | undefined {
  return image.backing === undefined ? image.backingProblem : backingProblem(image.backing);
}

function show(result: ImageInfoResult): void {
  warn(result.warnings);
  const blocks: string[] = [];
  for (let image: ImageInfo | undefined = result.image; image !== undefined; image = image.backing) {
    const title = blocks.length === 0 ? image.path : `${image.path}, ${blocks.length} below`;
    blocks.push([printable(title), ...imageLines(image)].join("\n"));
  }
  print(`${blocks.join("\n\n")}\n`);
}

function imageLines({
  format,
  virtualSize,
  fileSize,
  diskUsage,
  qcow2,
  backingProblem,
}: ImageInfo): string[] {
  const lines = [
    line("format", qcow2 === undefined ? format : `${format}, version ${qcow2.version}`),
    line("virtual size", `${formatBytes(virtualSize)} (${virtualSize} bytes)`),
    line(
      "disk usage",
      diskUsage === undefined
        ? "all of its block device"
        : `${formatBytes(diskUsage)}, in a file of ${formatBytes(fileSize)}`,
    ),
  ];
  return qcow2 === undefined ? lines : [...lines, ...qcow2Lines(qcow2, backingProblem)];
}

function qcow2Lines(info: Qcow2Info, problem: string | undefined): string[] {
  const { clusterSize, compression, refcountBits, lazyRefcounts, bitmaps, snapshots } = info;
  const counts = `reference counts of ${refcountBits} bits${lazyRefcounts ? ", written lazily" : ""}`;
  const lines = [
    line("clusters", `${formatBytes(clusterSize)}, compressed with ${compression} if at all; ${counts}`),
    line("state", stateText(info)),
  ];
  if (info.backingFile !== undefined) {
    const mark =
      problem === undefined ? "" : problem.includes("no such file") ? ": missing" : ": cannot be used";
    const said = info.backingFormat ?? "no format stated";
    lines.push(line("backing file", `${info.backingFile} (${said})${mark}`));
  }
  if (bitmaps.count > 0) {
    lines.push(line("bitmaps", `${bitmaps.count}, ${bitmaps.consistent ? "consistent" : "not up to date"}`));
  }
  const [headings, ...rows] = snapshots.length === 0 ? [] : snapshotTable(snapshots);
  if (headings !== undefined) lines.push(line("snapshots", headings), ...rows.map((row) => line("", row)));
  return lines;
}

function stateText({ corrupt, dirty }: Qcow2Info): string {
  if (corrupt) return "corrupt: tsvm image check tells more; nothing is written to it before a repair";
  return dirty ? "dirty: it was not closed properly, or is in use" : "clean";
}

function line(name: string, value: string): string {
  const WIDTH = 14;
  return `  ${name.padEnd(WIDTH)}${printable(value)}`;
}
