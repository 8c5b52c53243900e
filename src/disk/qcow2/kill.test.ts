/** A process that writes to an image is killed, again and again: qemu-img finds no corruption, and flushed data is there. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { suite } from "../../../test/support/needs.ts";
import { bundleForNode } from "../../ffi/testing/bundle.ts";
import { openDisk } from "../open.ts";
import { buildDisk } from "../plan.ts";
import { DiskAccess } from "../testing/disk-access.ts";
import { qemuCheck, QEMU_IMG, qemuImg } from "../testing/qemu.ts";
import { Random } from "../testing/random.ts";

const SECTOR = 512;
const SIZE = 8 * 2 ** 20;
const KILLS = 8;

suite("Qcow2Disk in a process that is killed", [QEMU_IMG], () => {
  const directory = mkdtempSync(join(tmpdir(), "tsvm-kill-"));
  let bundle: { path: string; remove: () => void };
  beforeAll(async () => {
    bundle = await bundleForNode(new URL("../testing/write-until-killed.ts", import.meta.url));
  });
  afterAll(() => {
    bundle.remove();
    rmSync(directory, { recursive: true });
  });

  /** Lets the process write for some time. All that it said. */
  const writeUntilKilled = async (path: string, seed: string, milliseconds: number): Promise<string[]> => {
    const child = spawn(process.execPath, [bundle.path, path, seed], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.on("data", (bytes: Buffer) => (said += bytes.toString()));
    const closed = once(child, "close");
    while (!said.startsWith("ready") && child.exitCode === null) await sleep(5);
    await sleep(milliseconds);
    child.kill("SIGKILL");
    await closed;
    const lines = said.split("\n");
    expect(lines.shift()).toBe("ready");
    lines.pop(); // what was not said to its end
    return lines;
  };

  const valuesOf = (path: string): Uint32Array => {
    const disk = openDisk(path, { readOnly: true, ephemeral: false });
    try {
      const content = new DiskAccess(buildDisk(disk.plan)).content();
      return new Uint32Array(SIZE / SECTOR).map((_, sector) => content.readUInt32LE(sector * SECTOR));
    } finally {
      for (const fd of disk.fds) closeSync(fd);
    }
  };

  test.each(["cluster_size=64k", "cluster_size=4k", "cluster_size=512"])(
    "%s",
    async (options) => {
      const path = join(directory, "disk.qcow2");
      rmSync(path, { force: true });
      qemuImg("create", "-q", "-f", "qcow2", "-o", options, path, String(SIZE));
      const random = new Random(options);
      let values = valuesOf(path);
      let flushes = 0;
      for (let kill = 0; kill < KILLS; kill++) {
        const lines = await writeUntilKilled(path, `${options} ${kill}`, 20 + random.below(300));
        const { corruptions, errors, output } = qemuCheck(path);
        expect({ corruptions, errors }, output).toEqual({ corruptions: 0, errors: 0 });
        // What each sector may hold: what it held at the last flush, and all that was written since.
        const last = lines.lastIndexOf("flushed");
        const possible = Array.from(values, (value) => new Set([value]));
        for (const [index, line] of lines.entries()) {
          const [what, first, count, value] = line.split(" ");
          if (what === "flushed") {
            flushes += 1;
            continue;
          }
          for (let sector = Number(first); sector < Number(first) + Number(count); sector++) {
            // A write before the last flush counts; a discard may have left what was there.
            if (index < last && value !== "0") possible[sector]!.clear();
            possible[sector]!.add(Number(value));
          }
        }
        values = valuesOf(path);
        for (const [sector, value] of values.entries()) {
          if (!possible[sector]!.has(value)) expect.fail(`kill ${kill}: sector ${sector} has ${value}`);
        }
      }
      expect(flushes).toBeGreaterThan(KILLS);
    },
    60_000,
  );
});
