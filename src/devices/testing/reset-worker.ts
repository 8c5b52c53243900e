/** Thread of blk-async.test.ts: a vCPU whose driver resets the device, or stops its queue. */
import { workerData } from "node:worker_threads";
import { R, VirtioMmio } from "../virtio/mmio.ts";
import { VirtioState, type VirtioModel } from "../virtio/state.ts";

const { model, words, progress, how } = workerData as {
  model: VirtioModel;
  words: Int32Array;
  /** 1 before, 2 after. */
  progress: Int32Array;
  how: "status" | "queue";
};
const transport = new VirtioMmio(new VirtioState(model, words, () => undefined), () => undefined);
transport.write(R.QueueSel, 4, 0);
Atomics.store(progress, 0, 1);
transport.write(how === "status" ? R.Status : R.QueueReady, 4, 0);
Atomics.store(progress, 0, 2);
