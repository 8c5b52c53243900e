import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleForNode } from "../../ffi/testing/bundle.ts";
import { guardedMemory, ProbeBackend, probeModel, Rig } from "../testing/driver.ts";
import { R } from "./mmio.ts";

const RAM = 256 * 1024;
const DURATION_MS = 400;

describe("a driver that changes its rings while they are read", () => {
  let bundle: { path: string; remove: () => void };
  const guarded = guardedMemory(RAM);
  beforeAll(async () => {
    bundle = await bundleForNode(new URL("../testing/scribble-worker.ts", import.meta.url));
  });
  afterAll(() => {
    bundle.remove();
    guarded.release();
  });

  it("gets nothing past the checks", async () => {
    const { memory } = guarded;
    const rig = new Rig(probeModel(16), memory, (state) => new ProbeBackend(state, memory));
    const [queue] = rig.bringUp();
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const { desc: table, avail } = queue!;
    const worker = new Worker(bundle.path, {
      workerData: { plan: memory.plan, table, avail, entries: 16, stop },
    });
    const exit = once(worker, "exit");
    await once(worker, "online");
    let chains = 0;
    let resets = 0;
    const rings = [queue!.desc, queue!.avail, queue!.used] as const;
    for (const end = performance.now() + DURATION_MS; performance.now() < end;) {
      for (let turn = 0; turn < 8 && rig.backend.run(0); turn++);
      for (const { segments } of rig.backend.seen) {
        expect(segments.length).toBeLessThanOrEqual(16);
        for (const { gpa, length } of segments) expect(gpa >= 0 && gpa + length <= RAM).toBe(true);
      }
      chains += rig.backend.seen.length;
      rig.backend.seen = [];
      if (!rig.needsReset) {
        queue!.setAvailIndex(queue!.usedIndex + 16);
        continue;
      }
      resets++;
      expect(rig.get(R.InterruptStatus) & 2).toBe(2);
      rig.set(R.Status, 0);
      rig.negotiate();
      rig.setQueue(0, 16, rings);
      rig.start();
      // As many chains as there are, whatever they are by now.
      queue!.setAvailIndex(16);
    }
    Atomics.store(stop, 0, 1);
    expect(await exit).toEqual([0]);
    expect(guarded.intact()).toBe(true);
    expect(chains).toBeGreaterThan(20);
    expect(resets).toBeGreaterThan(5);
  });
});
