import { formatBytes } from "../../boot/quantities.ts";
import type { Snapshot } from "../../disk/qemu-img/snapshot.ts";
import { printable } from "./text.ts";

/** Lines, the first with headings. Times are UTC. */
export function snapshotTable(snapshots: readonly Snapshot[]): string[] {
  const rows = [
    ["ID", "NAME", "TAKEN (UTC)", "DISK", "MACHINE STATE"],
    ...snapshots.map(({ id, name, seconds, diskSize, vmStateBytes }) => [
      printable(id),
      printable(name),
      new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " "),
      diskSize === undefined ? "?" : formatBytes(diskSize),
      vmStateBytes === 0 ? "none" : formatBytes(vmStateBytes),
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}
