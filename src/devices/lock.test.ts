import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleForNode } from "../ffi/testing/bundle.ts";
import { Lock } from "./lock.ts";

describe("Lock", () => {
  let bundle: { path: string; remove: () => void };
  beforeAll(async () => {
    bundle = await bundleForNode(new URL("testing/increment-worker.ts", import.meta.url));
  });
  afterAll(() => {
    bundle.remove();
  });

  it("costs two writes of one word where nobody else is", () => {
    const words = new Int32Array(new SharedArrayBuffer(8));
    const lock = new Lock(words, 1);
    lock.acquire();
    expect([...words]).toEqual([0, 1]);
    lock.release();
    expect([...words]).toEqual([0, 0]);
    lock.acquire();
    lock.release();
  });

  it("keeps two threads apart", async () => {
    const words = new Int32Array(new SharedArrayBuffer(12));
    const rounds = 20_000;
    const workers = [1, 2].map(() => new Worker(bundle.path, { workerData: { words, rounds } }));
    const answers = workers.map((worker) => once(worker, "message"));
    await Promise.all(workers.map((worker) => once(worker, "online")));
    Atomics.store(words, 2, 1);
    Atomics.notify(words, 2);
    for (const answer of answers) expect((await answer)[0]).toBe(0);
    expect(words[1]).toBe(2 * rounds);
    expect(words[0]).toBe(0);
  });

  it("wakes a thread that waits for it", async () => {
    const words = new Int32Array(new SharedArrayBuffer(12));
    words[2] = 1; // the worker does not wait for a start
    const lock = new Lock(words, 0);
    lock.acquire();
    const worker = new Worker(bundle.path, { workerData: { words, rounds: 1 } });
    const answer = once(worker, "message");
    // 2: somebody sleeps for it.
    await expect.poll(() => Atomics.load(words, 0), { timeout: 5000, interval: 5 }).toBe(2);
    expect(words[1]).toBe(0);
    lock.release();
    expect((await answer)[0]).toBe(0);
    expect(words[1]).toBe(1);
    expect(words[0]).toBe(0);
  });
});
