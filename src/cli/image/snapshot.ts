/** `tsvm image snapshot`: states of a disk, kept inside of its qcow2 image. */
import {
  applySnapshot,
  createSnapshot,
  deleteSnapshot,
  listSnapshots,
  type Snapshot,
} from "../../disk/qemu-img/snapshot.ts";
import { ExitCode } from "../exit-codes.ts";
import { print } from "../output.ts";
import { interruptible } from "./interruptible.ts";
import { snapshotTable } from "./snapshot-table.ts";
import { printable, toJson } from "./text.ts";

interface JsonFlag {
  readonly json?: boolean;
}

const CHANGE = { create: createSnapshot, apply: applySnapshot, delete: deleteSnapshot } as const;
const DONE: Record<keyof typeof CHANGE, string> = {
  create: "kept as",
  apply: "is what it was at",
  delete: "without",
};

export function snapshotListCommand(path: string, { json }: JsonFlag): void {
  const snapshots = listSnapshots(path);
  if (json === true) printJson(path, snapshots);
  else if (snapshots.length > 0) print(`${snapshotTable(snapshots).join("\n")}\n`);
  else process.stderr.write(`tsvm: ${printable(path)} has no snapshots\n`);
}

/** Runs the command; the result is the exit status. */
export async function snapshotChangeCommand(
  verb: keyof typeof CHANGE,
  path: string,
  name: string,
  { json }: JsonFlag,
): Promise<number> {
  return interruptible(
    async (signal) => {
      await CHANGE[verb](path, name, { signal });
      if (json === true) printJson(path, listSnapshots(path));
      else print(printable(`${path}: ${DONE[verb]} "${name}"`) + "\n");
      return ExitCode.Ok;
    },
    { finish: true },
  );
}

function printJson(path: string, snapshots: readonly Snapshot[]): void {
  print(toJson({ path, snapshots }));
}
