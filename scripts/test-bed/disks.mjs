/** The machine's disks beside its system: Node, the checkout, its packages. File systems made without mounting anything. */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { cached, keyOf } from "./cache.mjs";
import { TestBedError } from "./errors.mjs";
import { run } from "./processes.mjs";

/** Of the file systems. The files are sparse, so this costs nothing. */
const SIZE = "16G";
/** Libraries that every system of the test bed has. */
const COMMON_LIBRARIES =
  /^(linux-vdso|ld-linux-x86-64|libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s)\.so\b/;

/** A disk with the node that runs this, npm and tsvm, for /usr/local. */
export async function nodeDisk() {
  const { size, mtimeMs } = statSync(process.execPath);
  const npm = join(dirname(process.execPath), "../lib/node_modules/npm");
  const npmVersion = existsSync(npm) ? readFileSync(join(npm, "package.json")) : "none";
  const key = keyOf(nodeDisk.toString(), process.execPath, process.version, `${size} ${mtimeMs}`, npmVersion);
  const directory = await cached("node", key, async (partial) => {
    checkLibraries();
    const tree = join(partial, "tree");
    mkdirSync(join(tree, "bin"), { recursive: true });
    copyFileSync(process.execPath, join(tree, "bin/node"));
    symlinkSync("/tsvm/dist/cli.cjs", join(tree, "bin/tsvm"));
    if (existsSync(npm)) {
      cpSync(npm, join(tree, "lib/node_modules/npm"), { recursive: true });
      for (const name of ["npm", "npx"]) {
        symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(tree, "bin", name));
      }
    }
    await makeDisk(tree, join(partial, "disk.ext4"));
    await run("rm", ["-r", tree]);
  });
  return join(directory, "disk.ext4");
}

/** A node that is spread over libraries of its distribution would not start in the machine. */
function checkLibraries() {
  const lines = execFileSync("ldd", [process.execPath], { encoding: "utf8" }).trim().split("\n");
  const names = lines.map((line) => line.trim().split(/\s/)[0].replace(/.*\//, ""));
  const others = names.filter((name) => !COMMON_LIBRARIES.test(name));
  if (others.length > 0) {
    throw new TestBedError(
      `${process.execPath} needs ${others.join(", ")}, which the test bed's system lacks. ` +
        "Run this with a node from nodejs.org, or one that npm installed (npm install node)",
    );
  }
}

/** A disk with node_modules. */
export async function packagesDisk(root) {
  const packages = join(root, "node_modules");
  if (!existsSync(packages))
    throw new TestBedError("the packages are missing: run npm ci (or npm install) first");
  const files = await run("find", [".", "-printf", "%P %y %s %T@\\n"], { cwd: packages, quiet: true });
  const directory = await cached("packages", keyOf(SIZE, files), async (partial) => {
    await makeDisk(packages, join(partial, "disk.ext4"));
  });
  return join(directory, "disk.ext4");
}

/** Makes a disk of the checkout: what git tracks or would offer to, as it is now, dist/ and the unpacked guest. */
export async function checkoutDisk(root, path) {
  const tree = `${path}.tree`;
  mkdirSync(tree);
  await run("xargs", ["-0", "cp", "-a", "--reflink=auto", "--parents", "-t", tree, "--"], {
    cwd: root,
    input: checkoutFiles(root).join("\0"),
    quiet: true,
  });
  cpSync(join(root, "dist"), join(tree, "dist"), { recursive: true });
  // The disk keeps whole seconds, by which dist/ would look as old as the youngest source.
  const now = new Date();
  for (const name of readdirSync(join(tree, "dist"))) utimesSync(join(tree, "dist", name), now, now);
  mkdirSync(join(tree, "node_modules"));
  mkdirSync(join(tree, ".cache"));
  await run("cp", ["-a", "--reflink=auto", await unpackedGuest(root), join(tree, ".cache/tsvm")]);
  await makeDisk(tree, path);
  await run("rm", ["-r", tree]);
}

function checkoutFiles(root) {
  const git = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const files = execFileSync("git", git, { cwd: root, encoding: "utf8", maxBuffer: 64 * 2 ** 20 });
  // Files that are deleted but still tracked, and nested repositories.
  return files
    .split("\0")
    .filter((name) => name !== "" && statSync(join(root, name), { throwIfNoEntry: false })?.isFile());
}

/** What tsvm would unpack before its first boot, which takes 10 s in the machine. */
async function unpackedGuest(root) {
  const manifest = readFileSync(join(root, "images/manifest.json"));
  const directory = await cached("guest", keyOf(manifest), async (partial) => {
    // It says with status 1 where there is no /dev/kvm, which does not matter.
    await run("sh", ["-c", "node dist/cli.cjs doctor >&2; [ $? -le 1 ]"], {
      cwd: root,
      quiet: true,
      environment: { XDG_CACHE_HOME: partial },
    });
  });
  return join(directory, "tsvm");
}

/** Makes an ext4 file system with a directory's content, which belongs to root in it. */
async function makeDisk(tree, path) {
  const asRoot = process.getuid() === 0 ? [] : ["unshare", "--map-root-user"];
  const command = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", tree, path, SIZE];
  const [file, ...args] = [...asRoot, ...command];
  await run(file, args, { quiet: true });
}
