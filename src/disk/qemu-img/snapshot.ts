/** Snapshots inside of qcow2 images. */
import { closest, distance } from "fastest-levenshtein";
import { DiskError } from "../errors.ts";
import { imageInfo, type Qcow2Info } from "../info.ts";
import { fileArgument } from "./file-name.ts";
import { type Control, runQemuImg } from "./run.ts";

export type Snapshot = Qcow2Info["snapshots"][number];

/** What QEMU keeps of a name; it would cut a longer one. Bytes. */
const NAME_MAX = 255;

/** Works without qemu-img. Throws a DiskError for an image that cannot have any. */
export function listSnapshots(path: string): readonly Snapshot[] {
  const { qcow2 } = imageInfo(path).image;
  if (qcow2 !== undefined) return qcow2.snapshots;
  throw new DiskError(
    path,
    "is a raw image, which cannot hold snapshots",
    `convert it to qcow2 (tsvm image convert), or work on an overlay: tsvm image overlay ${path} NEW`,
  );
}

/** Keeps the disk as it is now, under a name. Throws a DiskError, and a QemuImgMissingError. */
export async function createSnapshot(path: string, name: string, control: Control): Promise<void> {
  if (listSnapshots(path).some((snapshot) => snapshot.name === name)) {
    throw new DiskError(
      path,
      `has a snapshot "${name}" already`,
      "name another one, or delete that one first",
    );
  }
  const problem = wrongWith(name);
  if (problem !== undefined) throw new DiskError(path, `"${name}" is no name for a snapshot: ${problem}`);
  await runQemuImg({ path }, ["snapshot", "-q", "-c", name, fileArgument(path)], control);
}

/** The disk becomes what it was; what it is now is lost. `wanted` is a name or an id. Throws as {@link createSnapshot}. */
export async function applySnapshot(path: string, wanted: string, control: Control): Promise<void> {
  const { id } = find(path, wanted);
  // By its id: qemu-img looks for ids first, and something else may have this name as its id.
  await runQemuImg({ path }, ["snapshot", "-q", "-a", id, fileArgument(path)], control);
}

/** Throws as {@link createSnapshot}. */
export async function deleteSnapshot(path: string, wanted: string, control: Control): Promise<void> {
  const { id, name } = find(path, wanted);
  // qemu-img deletes by name, the first that has it.
  const first = listSnapshots(path).find((snapshot) => snapshot.name === name);
  if (first?.id !== id) {
    throw new DiskError(
      path,
      `snapshots ${first?.id} and ${id} are both called "${name}", and qemu-img deletes the first`,
      `delete that one first: tsvm image snapshot delete ${path} ${first?.id}`,
    );
  }
  await runQemuImg({ path }, ["snapshot", "-q", "-d", name, fileArgument(path)], control);
}

/** By name, else by id. Of several with one name, none. */
function find(path: string, wanted: string): Snapshot {
  const all = listSnapshots(path);
  const named = all.filter(({ name }) => name === wanted);
  if (named.length > 1) {
    throw new DiskError(
      path,
      `has ${named.length} snapshots called "${wanted}"`,
      `say which one by its id: ${named.map(({ id }) => id).join(", ")}`,
    );
  }
  const found = named[0] ?? all.find(({ id }) => id === wanted);
  if (found !== undefined) return found;
  throw new DiskError(path, `has no snapshot "${wanted}"`, suggestion(wanted, all));
}

function suggestion(wanted: string, all: readonly Snapshot[]): string {
  if (all.length === 0) return "it has none at all";
  const names = all.map(({ name }) => name);
  const near = closest(wanted, names);
  if (distance(wanted, near) <= 2) return `do you mean "${near}"?`;
  const SHOWN = 10;
  const more = names.length > SHOWN ? `, and ${names.length - SHOWN} more` : "";
  return `it has ${names
    .slice(0, SHOWN)
    .map((name) => `"${name}"`)
    .join(", ")}${more}`;
}

function wrongWith(name: string): string | undefined {
  if (name === "") return "it is empty";
  if (/^\d+$/.test(name)) return "numbers are ids";
  if (/\p{Cc}/u.test(name)) return "it has control characters";
  return Buffer.byteLength(name) > NAME_MAX ? `it is longer than ${NAME_MAX} bytes` : undefined;
}
