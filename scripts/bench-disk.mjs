// How fast the disk back ends are in this process, without any guest: requests per second, and their ratio to the plain
// system call (pread or pwrite by address) on the same bytes of the same file. First the back ends alone, with files in the
// page cache, so that what is measured is the code. Then the whole block device with its queue and a driver: from the page
// cache, and past it (cache=none), where many requests at a time show. Needs qemu-img, which makes the image.
//
//   node scripts/bench-disk.mjs [--size MIB] [--seconds N] [--dir DIRECTORY]
import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BlockDeviceBench } from "./bench/block-device.mjs";
import { loadSource } from "./bench/source.mjs";

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
  const parts = await loadSource({
    "disk/open.ts": "openDisk",
    "disk/plan.ts": "buildDisk",
    "disk/extents.ts": "ExtentList",
    "disk/async/io-engine.ts": "IoEngine",
    "ffi/iovec.ts": "IoVector",
    "ffi/native-buffer.ts": "allocateNative",
    "ffi/libc.ts": "preadv, pwritev",
    "kvm/guest-memory.ts": "GuestMemory",
    "devices/virtio/blk.ts": "VirtioBlk, blkModel",
    "devices/testing/driver.ts": "Rig",
    "machine/clock.ts": "monotonicNow",
  });
  const { openDisk, buildDisk, ExtentList, IoVector, allocateNative, preadv, pwritev } = parts;
  const arena = allocateNative(MIB);
  const vector = new IoVector();
  const extents = new ExtentList();

  const kinds = [
    { pattern: "4 KiB random", length: 4096, offsets: randomOffsets(4096) },
    { pattern: "128 KiB sequential", length: 131072, offsets: sequentialOffsets(131072) },
  ].flatMap((pattern) => [
    { ...pattern, what: "read", call: preadv },
    { ...pattern, what: "write", call: pwritev },
  ]);

  const raw = join(temporary, "disk.raw");
  const qcow2 = join(temporary, "disk.qcow2");
  const fresh = join(temporary, "fresh.qcow2");
  fill(raw, pwritev, vector, arena);
  execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", raw, qcow2]);
  const image = open(openDisk, qcow2);
  const rawImage = open(openDisk, raw);

  console.log(`${"".padEnd(42)}${"plain/s".padStart(10)}${"tsvm/s".padStart(10)}   ratio`);
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
    for (const { pattern, length, offsets, what, call } of kinds) {
      const pairs = offsets
        .map((offset) => [offset, hostOf(length, offset)])
        .filter((pair) => pair[1] !== undefined);
      const [guest, host] = [0, 1].map((side) => pairs.map((pair) => pair[side]));
      report(`${name}, ${pattern}, ${what}`, length, {
        plain: [plainOf(file, call), host],
        ours: [requestOf(disk, what), guest],
      });
    }
    disk.close?.();
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

  for (const cache of ["writeback", "none"]) {
    console.log(`\nthe block device with its queue, cache=${cache}`);
    for (const [name, path] of Object.entries({ raw, qcow2 })) compareDevice(name, path, cache);
  }

  /** Against the plain call on the raw file, one at a time. */
  function compareDevice(name, path, cache) {
    const direct = cache === "none" ? constants.O_DIRECT : 0;
    const plainFd = openSync(raw, constants.O_RDWR | direct);
    for (const { pattern, length, offsets, what, call } of kinds) {
      for (const depth of [1, 32]) {
        const { plan, fds } = openDisk(path, { readOnly: false, ephemeral: false, cache });
        const disk = buildDisk(plan);
        const device = new BlockDeviceBench(parts, disk, { length, depth, write: what === "write" });
        const rounds = [];
        for (let round = 0; round <= ROUNDS; round++) {
          rounds.push([rate(plainOf(plainFd, call), length, offsets, MS), device.rate(offsets, MS)]);
        }
        printMedian(`${name}, ${pattern} ${what}, depth ${depth}`, rounds.slice(1));
        device.close();
        disk.close?.();
        for (const fd of fds) closeSync(fd);
      }
    }
    closeSync(plainFd);
  }

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
  console.log(`${name.padEnd(42)}${columns}   ${(ours / plain).toFixed(2)}`);
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
