/** Thread of lock.test.ts: increments a counter that is no atomic, under a lock. */
import { parentPort, workerData } from "node:worker_threads";
import { Lock } from "../lock.ts";

const { words, rounds } = workerData as { words: Int32Array; rounds: number };
const lock = new Lock(words, 0);
const START = 2;

// Begin together.
Atomics.wait(words, START, 0);
let overlaps = 0;
for (let round = 0; round < rounds; round++) {
  lock.acquire();
  const before = words[1]!;
  // Long enough for another thread to get in between, were it let.
  for (let spin = 0; spin < 20; spin++) if (words[1] !== before) overlaps++;
  words[1] = before + 1;
  lock.release();
}
parentPort!.postMessage(overlaps);
