/**
 * The world stops between any two writes to the image: by a kill, which loses nothing of what was written, or by a power
 * loss, which may lose any part of what no sync has followed. Each time the tables must be consistent, and every sector
 * must hold what it held at the last flush, or something written since.
 */
import {
  closeSync,
  copyFileSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { check, QEMU_IO, suite } from "../../../test/support/needs.ts";
import { openChain } from "../chain.ts";
import { ImageFile } from "../image-file.ts";
import { buildLayers } from "../plan.ts";
import { DiskAccess } from "../testing/disk-access.ts";
import { qemuCheck, QEMU_IMG, qemuImg, qemuIo } from "../testing/qemu.ts";
import { Random } from "../testing/random.ts";
import { type FileEvent, RecordingFile, replay, replayPartly } from "../testing/recording-file.ts";
import { checkImage } from "./check.ts";
import { Qcow2Disk } from "./disk.ts";
import { readHeader } from "./read-header.ts";

const SECTOR = 512;
const OPERATIONS = 100;

interface Variant {
  readonly name: string;
  readonly options: string;
  /** Bytes. */
  readonly size: number;
  readonly backing?: boolean;
  readonly snapshot?: boolean;
  readonly compressed?: boolean;
  readonly l2CacheBytes?: number;
  /** Sectors in the largest request. */
  readonly largest: number;
  /** A flush after every request: each has to bring its own order. */
  readonly flushEach?: boolean;
  readonly noPunch?: boolean;
  /** Writes one sector and discards it, in turns, until clusters are used again. */
  readonly recycle?: boolean;
  /** Only writes, one behind the other. */
  readonly append?: boolean;
}

const K = 1024;
const VARIANTS: readonly Variant[] = [
  { name: "clusters of 4 KiB", options: "cluster_size=4k", size: 512 * K, largest: 40 },
  { name: "clusters of 64 KiB", options: "cluster_size=64k", size: 1024 * K, largest: 200 },
  { name: "version 2", options: "compat=0.10,cluster_size=4k", size: 512 * K, largest: 40 },
  { name: "over a backing file", options: "cluster_size=4k", size: 512 * K, backing: true, largest: 40 },
  { name: "with a snapshot", options: "cluster_size=4k", size: 512 * K, snapshot: true, largest: 40 },
  { name: "compressed", options: "cluster_size=4k", size: 512 * K, compressed: true, largest: 40 },
  {
    name: "flushing each time, where no space goes back to the host",
    options: "cluster_size=512",
    size: 128 * K,
    flushEach: true,
    noPunch: true,
    largest: 20,
  },
  {
    name: "using clusters again",
    options: "cluster_size=512",
    size: 32 * K,
    flushEach: true,
    noPunch: true,
    recycle: true,
    largest: 1,
  },
  {
    name: "flushing each time, with a snapshot",
    options: "cluster_size=512",
    size: 192 * K,
    flushEach: true,
    snapshot: true,
    largest: 3,
  },
  {
    name: "flushing each time, over a backing file",
    options: "cluster_size=4k",
    size: 256 * K,
    flushEach: true,
    backing: true,
    largest: 20,
  },
  {
    name: "appending",
    options: "cluster_size=4k",
    size: 4096 * K,
    flushEach: true,
    append: true,
    largest: 300,
  },
  {
    name: "with a small cache, and a refcount table that has to grow",
    options: "cluster_size=512,refcount_bits=64",
    size: 4096 * K,
    l2CacheBytes: 8 * K,
    largest: 700,
  },
  {
    name: "with a small cache, a snapshot, and a backing file",
    options: "cluster_size=512",
    size: 512 * K,
    l2CacheBytes: 8 * K,
    backing: true,
    snapshot: true,
    largest: 60,
  },
];

/** What the guest did, between the events of the file. */
type Step =
  | FileEvent
  /** These sectors may hold this from now on; 0 for zeros. */
  | { readonly kind: "guest"; readonly first: number; readonly values: Uint32Array }
  | { readonly kind: "flushed" };

suite("Qcow2Disk, stopped at any moment", [QEMU_IMG, QEMU_IO], () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-crash-"));
  const at = (name: string): string => join(directory, name);
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  /** A sector of a value: that number, all over. */
  const fillSector = (target: Buffer, sector: number, value: number): void => {
    for (let byte = 0; byte < SECTOR; byte += 4) target.writeUInt32LE(value, sector * SECTOR + byte);
  };
  const initialValue = (sector: number): number => 0x4000_0000 + sector;

  const prepare = (variant: Variant): void => {
    for (const name of ["base", "raw", "start"]) rmSync(at(name), { force: true });
    const { size, options } = variant;
    const content = Buffer.alloc(size);
    for (let sector = 0; sector < size / SECTOR; sector++) fillSector(content, sector, initialValue(sector));
    writeFileSync(at("raw"), content);
    if (variant.backing === true) qemuImg("convert", "-f", "raw", "-O", "qcow2", at("raw"), at("base"));
    if (variant.compressed === true) {
      qemuImg("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, at("raw"), at("start"));
    } else {
      const backing = variant.backing === true ? ["-b", at("base"), "-F", "qcow2"] : [];
      qemuImg("create", "-q", "-f", "qcow2", "-o", options, ...backing, at("start"), String(size));
    }
    if (variant.snapshot === true) {
      qemuIo(at("start"), "qcow2", `write -s ${at("raw")} 0 128k`);
      qemuImg("snapshot", "-c", "one", at("start"));
    }
  };

  /** Random requests; what they did to the file and what they mean, in order. */
  const run = (variant: Variant, random: Random, steps: Step[]): Uint32Array => {
    const sectors = variant.size / SECTOR;
    copyFileSync(at("start"), at("disk"));
    const chain = openChain(at("disk"), { writable: true, format: "qcow2" });
    try {
      const [top, ...below] = chain.layers;
      const file = new RecordingFile(
        { path: top!.path, fd: top!.fd, size: top!.fileSize, growable: true },
        (event) => steps.push(event),
      );
      if (variant.noPunch === true) file.punchHole = () => undefined;
      const disk = new Qcow2Disk({
        file,
        header: top!.header!,
        backing: buildLayers(below, 2 ** 20),
        readOnly: false,
        ...(variant.l2CacheBytes === undefined ? {} : { l2CacheBytes: variant.l2CacheBytes }),
      });
      const access = new DiskAccess(disk);
      const current = valuesOf(access.content(), "at the beginning");
      const initial = current.slice();
      let end = 0;
      let last = 0;
      const operations = OPERATIONS * (variant.recycle === true ? 6 : variant.flushEach === true ? 0.5 : 1);
      for (let operation = 1; operation <= operations; operation++) {
        const again = variant.recycle === true && operation % 2 === 0;
        const first = variant.append === true ? end : again ? last : random.below(sectors);
        last = first;
        const count = Math.min(sectors - first, 1 + random.below(variant.largest));
        if (count === 0) break;
        end = first + count;
        const kind = again
          ? 7
          : variant.append === true || variant.recycle === true
            ? 0
            : random.below(variant.flushEach === true ? 8 : 10);
        if (kind < 5) {
          const bytes = Buffer.alloc(count * SECTOR);
          const values = new Uint32Array(count).map((_, index) => operation * 0x1_0000 + index);
          for (let index = 0; index < count; index++) fillSector(bytes, index, values[index]!);
          steps.push({ kind: "guest", first, values });
          access.write(first * SECTOR, bytes);
          current.set(values, first);
        } else if (kind < 8) {
          const values = new Uint32Array(count);
          steps.push({ kind: "guest", first, values });
          if (kind < 7) access.writeZeroes(first * SECTOR, count * SECTOR, kind === 5);
          else access.discard(first * SECTOR, count * SECTOR);
          current.set(valuesOf(access.read(first * SECTOR, count * SECTOR), "after discard"), first);
        }
        if (kind >= 8 || variant.flushEach === true) {
          access.flush();
          steps.push({ kind: "flushed" });
        }
      }
      access.close();
      steps.push({ kind: "flushed" });
      expect(valuesOf(access.content(), "at the end")).toEqual(current);
      return initial;
    } finally {
      for (const { fd } of chain.layers) closeSync(fd);
    }
  };

  const valuesOf = (content: Buffer, when: string): Uint32Array => {
    const words = new Uint32Array(content.buffer, content.byteOffset, content.length / 4);
    const values = new Uint32Array(content.length / SECTOR);
    for (let sector = 0; sector < values.length; sector++) {
      const start = (sector * SECTOR) / 4;
      values[sector] = words[start]!;
      for (let word = start; word < start + SECTOR / 4; word++) {
        if (words[word] !== words[start]) throw new Error(`${when}: sector ${sector} is torn`);
      }
    }
    return values;
  };

  /** Follows what each sector may hold. */
  class Expectation {
    readonly #possible: number[][];
    constructor(initial: Uint32Array) {
      this.#possible = Array.from(initial, (value) => [value]);
    }
    apply(step: Step, now: Uint32Array | undefined): void {
      if (step.kind === "guest") {
        for (const [index, value] of step.values.entries()) {
          const possible = this.#possible[step.first + index]!;
          if (!possible.includes(value)) possible.push(value);
        }
      } else if (step.kind === "flushed" && now !== undefined) {
        for (const [sector, possible] of this.#possible.entries()) {
          if (!possible.includes(now[sector]!)) throw new Error(`flushed: sector ${sector}`);
          this.#possible[sector] = [now[sector]!];
        }
      }
    }
    verify(seen: Uint32Array, when: string): void {
      for (const [sector, value] of seen.entries()) {
        if (this.#possible[sector]!.includes(value)) continue;
        const possible = this.#possible[sector]!.map((one) => one.toString(16)).join(", ");
        throw new Error(`${when}: sector ${sector} has ${value.toString(16)}, possible: ${possible}`);
      }
    }
  }

  /** The content of an image that has been stopped. Throws if its tables are not consistent. */
  const examine = (path: string, when: string): Uint32Array => {
    const fd = openSync(path, "r");
    try {
      const file = new ImageFile({ path, fd, size: fstatSync(fd).size, growable: true });
      const header = readHeader(file);
      const result = checkImage(file, header)!;
      if (result.corruptions.length > 0)
        throw new Error(`${when}: ${result.corruptions.slice(0, 5).join("; ")}`);
      const chain = openChain(path, { writable: false, format: "qcow2", lock: false });
      try {
        const backing = buildLayers(chain.layers.slice(1), 2 ** 20);
        const disk = new Qcow2Disk({ file, header, backing, readOnly: true });
        return valuesOf(new DiskAccess(disk).content(), when);
      } finally {
        for (const layer of chain.layers) closeSync(layer.fd);
      }
    } finally {
      closeSync(fd);
    }
  };
  const judge = (path: string, when: string): void => {
    const { corruptions, errors, output } = qemuCheck(path);
    expect({ corruptions, errors }, `${when}: ${output}`).toEqual({ corruptions: 0, errors: 0 });
  };

  for (const variant of VARIANTS) {
    check(
      `${variant.name}: killed`,
      [],
      () => {
        prepare(variant);
        const steps: Step[] = [];
        const initial = run(variant, new Random(variant.name), steps);
        const expectation = new Expectation(initial);
        copyFileSync(at("start"), at("cut"));
        const fd = openSync(at("cut"), "r+");
        const writes = steps.filter(({ kind }) => kind === "write").length;
        // Small images are looked at after every write, large ones after some.
        const stride = Math.ceil(writes / (variant.size > 2 ** 20 ? 150 : 500));
        try {
          for (const [index, step] of steps.entries()) {
            if (step.kind === "guest") expectation.apply(step, undefined);
            else if (step.kind === "flushed") {
              const seen = examine(at("cut"), `step ${index}`);
              expectation.apply(step, seen);
            } else {
              replay(fd, step);
              if (step.kind === "sync" || index % stride !== 0) continue;
              expectation.verify(examine(at("cut"), `step ${index}`), `step ${index}`);
              if (index % (50 * stride) === 0) judge(at("cut"), `step ${index}`);
            }
          }
        } finally {
          closeSync(fd);
        }
        judge(at("cut"), "at the end");
        expect(readFileSync(at("cut")).equals(readFileSync(at("disk")))).toBe(true);
      },
      120_000,
    );

    check(
      `${variant.name}: power loss`,
      [],
      () => {
        prepare(variant);
        const steps: Step[] = [];
        const random = new Random(`power ${variant.name}`);
        const initial = run(variant, random, steps);
        const expectation = new Expectation(initial);
        copyFileSync(at("start"), at("stable"));
        const stable = openSync(at("stable"), "r+");
        /** No sync has followed these. */
        let loose: FileEvent[] = [];
        const settle = (): void => {
          for (const event of loose) replay(stable, event);
          loose = [];
        };
        let losses = 0;
        const trialsBeforeSync = variant.size > 2 ** 20 || variant.recycle === true ? 1 : 4;
        const lose = (index: number): void => {
          copyFileSync(at("stable"), at("cut"));
          const cut = openSync(at("cut"), "r+");
          for (const event of loose) replayPartly(cut, event, random);
          closeSync(cut);
          expectation.verify(examine(at("cut"), `loss at ${index}`), `loss at ${index}`);
          if (++losses % 40 === 0) judge(at("cut"), `loss at ${index}`);
        };
        try {
          for (const [index, step] of steps.entries()) {
            if (step.kind === "guest") expectation.apply(step, undefined);
            else if (step.kind === "flushed") expectation.apply(step, examine(at("stable"), `step ${index}`));
            else {
              // Most is at stake right before a sync.
              const trials = step.kind === "sync" ? trialsBeforeSync : random.below(8) === 0 ? 1 : 0;
              for (let trial = 0; trial < trials && loose.length > 0; trial++) lose(index);
              if (step.kind === "sync") settle();
              else loose.push(step);
            }
          }
        } finally {
          closeSync(stable);
        }
      },
      120_000,
    );
  }
});
