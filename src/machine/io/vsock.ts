import { vsockCounters } from "../../devices/virtio/vsock/vsock-counters.ts";
import { VirtioVsock } from "../../devices/virtio/vsock/vsock.ts";
import { monotonicNow } from "../clock.ts";
import { ring } from "../doorbell.ts";
import type { VsockBackendPlan } from "../plan.ts";
import type { DeviceBuilder } from "./device.ts";

export const buildVsock: DeviceBuilder<VsockBackendPlan> = (
  { machine, memory, loop },
  state,
  { notifyFds },
  { cid, listenFd, portPath, counters },
) => {
  const host = {
    watch: loop.watch.bind(loop),
    rewatch: loop.rewatch.bind(loop),
    unwatch: loop.unwatch.bind(loop),
    callLater: loop.callLater.bind(loop),
    now: monotonicNow,
    wake: (index: number) => ring(notifyFds[index]!),
  };
  const backend = new VirtioVsock(state, memory, host, {
    cid,
    listenFd,
    portPath,
    counters: vsockCounters(machine.shared, counters.offset),
  });
  return { backend, close: () => backend.close() };
};
