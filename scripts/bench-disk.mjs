// How fast the disk back ends are in this process, without any guest: requests per second, and their ratio to the plain
// system call (pread or pwrite by address) on the same bytes of the same file. Files are in the page cache, so what is
// measured is the code. Needs qemu-img, which makes the image.
//
//   node scripts/bench-disk.mjs [--size MIB] [--seconds N] [--dir DIRECTORY]
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    size: { type: "string", default: "256" },
    seconds: { type: "string", default: "0.5" },
    dir: { type: "string", default: tmpdir() },
  },
});
const MIB = 2 ** 20;
const SIZE = Number(values.size) * MIB;
const MS = Number(values.seconds) * 1000;
const ROUNDS = 5;
if (!(SIZE > 0) || !(MS > 0)) throw new Error("--size and --seconds are numbers above 0");

const temporary = mkdtempSync(join(values.dir, "tsvm-bench-disk-"));
const remove = () => rmSync(temporary, { recursive: true, force: true });
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    remove();
    process.exit(130);
  });
}
try {
  await main();
} finally {
  remove();
}

async function main() {
  const { openDisk, buildDisk, ExtentList, IoVector, allocateNative, preadv, pwritev } = await loadSource();
  const arena = allocateNative(MIB);
  const vector = new IoVector();
  const extents = new ExtentList();

  const raw = join(temporary, "disk.raw");
  const qcow2 = join(temporary, "disk.qcow2");
  const fresh = join(temporary, "fresh.qcow2");
  fill(raw, pwritev, vector, arena);
  execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", raw, qcow2]);
  const image = open(openDisk, qcow2);
  const rawImage = open(openDisk, raw);

  console.log(`${"".padEnd(34)}${"plain/s".padStart(10)}${"tsvm/s".padStart(10)}   ratio`);
  const plainOf = (fd, call) => (length, offset) => {
    vector.clear();
    vector.add(arena.address, length);
    if (call(fd, vector.address, vector.count, offset) !== length) throw new Error("the plain call failed");
  };
  const requestOf = (disk, what) => (length, offset) => {
    vector.clear();
    vector.add(arena.address, length);
    const error = disk[what](vector, offset);
    if (error !== 0) throw new Error(`${what}: errno ${error}`);
  };
  for (const [name, { plan }] of Object.entries({ raw: rawImage, qcow2: image })) {
    const disk = buildDisk(plan);
    disk.flush();
    // The plain side works on the same bytes of the same file: the image's own tables say where they are.
    const file = openSync(plan.layers[0].path, "r+");
    const hostOf = (length, offset) => {
      if (name === "raw") return offset;
      extents.clear();
      if (disk.mapRead(offset, length, extents) !== length || extents.count !== 1) return undefined;
      return extents.offset[0];
    };
    for (const [pattern, length, offsets] of [
      ["4 KiB random", 4096, randomOffsets(4096)],
      ["128 KiB sequential", 131072, sequentialOffsets(131072)],
    ]) {
      for (const [what, call] of [
        ["read", preadv],
        ["write", pwritev],
      ]) {
        const pairs = offsets
          .map((offset) => [offset, hostOf(length, offset)])
          .filter((pair) => pair[1] !== undefined);
        const [guest, host] = [0, 1].map((side) => pairs.map((pair) => pair[side]));
        report(`${name}, ${pattern}, ${what}`, length, {
          plain: [plainOf(file, call), host],
          ours: [requestOf(disk, what), guest],
        });
      }
    }
    disk.close();
    closeSync(file);
  }

  // Each cluster once: what an allocation costs beside the data. The file of the plain side grows as well.
  const offsets = sequentialOffsets(65536);
  const once = (action) => {
    const start = performance.now();
    for (const offset of offsets) action(65536, offset);
    return (1000 * offsets.length) / (performance.now() - start);
  };
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    const growing = openSync(join(temporary, "growing"), "w");
    const plainRate = once(plainOf(growing, pwritev));
    closeSync(growing);
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", fresh, String(SIZE)]);
    const { plan, fds } = open(openDisk, fresh);
    const disk = buildDisk(plan);
    rounds.push([plainRate, once(requestOf(disk, "write"))]);
    disk.close();
    for (const fd of fds) closeSync(fd);
  }
  printMedian("qcow2, 64 KiB into new clusters", rounds);
  for (const fd of [...image.fds, ...rawImage.fds]) closeSync(fd);

  /** Both sides in turns, so that a noisy neighbour bothers both; the median of the ratios. */
  function report(name, length, { plain, ours }) {
    for (const [action, offsets] of [plain, ours]) rate(action, length, offsets, MS / 4);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      rounds.push([plain, ours].map(([action, offsets]) => rate(action, length, offsets, MS)));
    }
    printMedian(name, rounds);
  }
}

/** The round in the middle, by its ratio. */
function printMedian(name, rounds) {
  rounds.sort((a, b) => a[1] / a[0] - b[1] / b[0]);
  const [plain, ours] = rounds[rounds.length >> 1];
  const columns = [plain, ours].map((value) => Math.round(value).toString().padStart(10)).join("");
  console.log(`${name.padEnd(34)}${columns}   ${(ours / plain).toFixed(2)}`);
}

/** Requests per second. */
function rate(action, length, offsets, milliseconds) {
  const start = performance.now();
  let done = 0;
  let elapsed = 0;
  while (elapsed < milliseconds) {
    for (let batch = 0; batch < 64; batch++) action(length, offsets[(done + batch) % offsets.length]);
    done += 64;
    elapsed = performance.now() - start;
  }
  return (1000 * done) / elapsed;
}

function open(openDisk, path) {
  return openDisk(path, { readOnly: false, ephemeral: false });
}

function fill(path, pwritev, vector, { address, buffer }) {
  const words = new Uint32Array(buffer);
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index + 1, 0x9e3779b9);
  const fd = openSync(path, "w");
  for (let offset = 0; offset < SIZE; offset += MIB) {
    vector.clear();
    vector.add(address, MIB);
    if (pwritev(fd, vector.address, vector.count, offset) !== MIB) throw new Error("writing the file failed");
  }
  closeSync(fd);
}

function sequentialOffsets(length) {
  return Array.from({ length: SIZE / length }, (_, index) => index * length);
}

function randomOffsets(length) {
  let state = 1;
  return Array.from({ length: 65536 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state % (SIZE / length)) * length;
  });
}

/** The source as it is, bundled: Node 20 runs no TypeScript. */
async function loadSource() {
  // Below node_modules, so that the bundle finds koffi.
  const cache = join(root, "node_modules", ".cache");
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, "tsvm-bench-"));
  try {
    const outfile = join(directory, "bundle.mjs");
    await build({
      stdin: {
        contents: `
          export { openDisk } from "./src/disk/open.ts";
          export { buildDisk } from "./src/disk/plan.ts";
          export { ExtentList } from "./src/disk/extents.ts";
          export { IoVector } from "./src/ffi/iovec.ts";
          export { allocateNative } from "./src/ffi/native-buffer.ts";
          export { preadv, pwritev } from "./src/ffi/libc.ts";`,
        resolveDir: root,
        loader: "ts",
      },
      outfile,
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
      logLevel: "warning",
    });
    return await import(outfile);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
