/**
 * Process of kill.test.ts: writes to an image at random until it is killed. Each sector written holds a number that says
 * which; a line says so before each request and after each flush.
 */
import { writeSync } from "node:fs";
import { openDisk } from "../open.ts";
import { buildDisk } from "../plan.ts";
import { DiskAccess } from "./disk-access.ts";
import { Random } from "./random.ts";

const SECTOR = 512;
const [path, seed] = process.argv.slice(2);
const random = new Random(seed!);
const { plan, size } = openDisk(path!, { readOnly: false, ephemeral: false });
const access = new DiskAccess(buildDisk(plan, { l2CacheBytes: 2 ** 16 }));
const tell = (line: string): void => {
  writeSync(1, `${line}\n`);
};
tell("ready");
for (let operation = 1; ; operation++) {
  const sectors = size / SECTOR;
  const first = random.below(sectors);
  const count = Math.min(sectors - first, 1 + random.below(150));
  const value = (random.next() & 0x7fff_ffff) | 1;
  const kind = random.below(10);
  if (kind < 6) {
    const bytes = Buffer.alloc(count * SECTOR);
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(value, at);
    tell(`write ${first} ${count} ${value}`);
    access.write(first * SECTOR, bytes);
  } else if (kind < 8) {
    tell(`write ${first} ${count} 0`);
    if (kind === 6) access.writeZeroes(first * SECTOR, count * SECTOR, true);
    else access.discard(first * SECTOR, count * SECTOR);
  } else {
    access.flush();
    tell("flushed");
  }
}
