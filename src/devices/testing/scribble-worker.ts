/** Thread of race.test.ts: another processor of the guest, which changes rings and descriptors while the device reads them. */
import { workerData } from "node:worker_threads";
import { GuestMemory, type GuestMemoryPlan } from "../../kvm/guest-memory.ts";

const { plan, table, avail, entries, stop } = workerData as {
  plan: GuestMemoryPlan;
  /** Guest addresses of a descriptor table with `entries`, and of the available ring. */
  table: number;
  avail: number;
  entries: number;
  stop: Int32Array;
};
const memory = new GuestMemory(plan);
const descriptors = new DataView(memory.viewOf(table, 16 * entries).buffer);
const ring = new DataView(memory.viewOf(avail, 6 + 2 * entries).buffer);

let state = 0x1234_5678;
const random = (below: number): number => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
};
const oneOf = (values: readonly number[]): number => values[random(values.length)]!;

// Mostly right: the device is to do its work, and to find something else than it has seen a moment ago.
for (let round = 0; ; round++) {
  const at = 16 * random(entries);
  switch (random(5)) {
    case 0:
      descriptors.setUint32(
        at,
        oneOf([0, 4096, table, table, plan.size - 1, plan.size - 16, plan.size]),
        true,
      );
      break;
    case 1:
      descriptors.setUint32(at + 4, random(50) === 0 ? oneOf([1, 0xffff_ffff]) : 0, true);
      break;
    case 2:
      descriptors.setUint32(
        at + 8,
        oneOf([0, 1, 16, 16, 32, 4096, random(40) === 0 ? 0xffff_ffff : 1]),
        true,
      );
      break;
    case 3:
      descriptors.setUint32(at + 12, oneOf([0, 0, 1, 2, 2, 3, 4]) | (random(entries + 1) << 16), true);
      break;
    case 4:
      ring.setUint16(4 + 2 * random(entries), random(entries), true);
      break;
  }
  if (round % 1024 === 0 && Atomics.load(stop, 0) !== 0) break;
}
