/**
 * Files on their way into the machine and out of it, as tar archives on raw disks. An archive has one directory per
 * --in or --out, named by its number, with the file or directory in it. The other side is guest/run.
 */
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { TestBedError } from "./errors.mjs";
import { run, start } from "./processes.mjs";

/** Writes the archive with all --in. */
export async function packInputs(inputs, archive) {
  const owner = process.getuid() === 0 ? [] : ["--owner=0", "--group=0"];
  for (const [number, { path }] of inputs.entries()) {
    if (!existsSync(path)) throw new TestBedError(`--in ${path}: no such file or directory`);
    // A link stands for what it leads to, under the link's name. Links inside of a directory stay.
    const real = realpathSync(path);
    const name = basename(resolve(path)).replaceAll(/[\\&,]/g, "\\$&");
    // Of names and of targets of hard links, not of targets of symbolic links.
    const rename = `--transform=flags=rhS;s,^\\./[^/]*,${number}/${name},`;
    const what = ["-C", dirname(real), `./${basename(real)}`];
    await run("tar", ["-r", "-S", "-f", archive, ...owner, rename, ...what], { quiet: true });
  }
}

/** Unpacks all --out from the open disk. Returns the paths that were not there. */
export async function unpackOutputs(outputs, disk) {
  const missing = [];
  for (const [number, { guestPath, path }] of outputs.entries()) {
    const target = resolve(path);
    mkdirSync(dirname(target), { recursive: true });
    // Beside the target, from where it can be moved at once.
    const scratch = mkdtempSync(join(dirname(target), ".kvm-host-"));
    try {
      await unpack(disk, number, scratch);
      const [name] = readdirSync(join(scratch, `${number}`));
      if (name === undefined) missing.push(guestPath);
      else await place(join(scratch, `${number}`, name), target, basename(guestPath));
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
  return missing;
}

async function unpack(disk, number, into) {
  const child = start("tar", ["-x", "-S", "-C", into, "-f", "/proc/self/fd/0", `${number}`], {
    stdio: [disk, "ignore", "pipe"],
  });
  let complaints = "";
  child.stderr.on("data", (text) => (complaints += text));
  const [status] = await once(child, "close");
  if (status !== 0)
    throw new TestBedError(`cannot unpack what came out of the machine\n${complaints.trimEnd()}`);
}

/** As cp would do it, but a directory's content goes into a directory that is there. */
async function place(source, target, name) {
  if (!isDirectory(target)) renameSync(source, target);
  else if (!isDirectory(source)) renameSync(source, join(target, name));
  else {
    const content = readdirSync(source).map((entry) => join(source, entry));
    if (content.length > 0) await run("cp", ["-a", "-t", target, "--", ...content], { quiet: true });
  }
}

function isDirectory(path) {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
