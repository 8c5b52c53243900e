import { receiveQueue, transmitQueue, VirtioConsole } from "../../devices/virtio/console.ts";
import { EPOLLIN, EPOLLOUT } from "../../ffi/constants.ts";
import type { ConsoleBackendPlan } from "../plan.ts";
import type { DeviceBuilder } from "./device.ts";

export const buildConsole: DeviceBuilder<ConsoleBackendPlan> = (
  { memory, loop, control },
  state,
  _plan,
  { ports, size },
) => {
  const backend = new VirtioConsole(state, memory, ports, size);
  return {
    backend,
    attach(runners) {
      for (const [index, port] of ports.entries()) {
        loop.watch(port.inputFd, EPOLLIN, runners[receiveQueue(index)]!);
        loop.watch(port.outputFd, EPOLLOUT, runners[transmitQueue(index)]!);
      }
    },
    controlChanged: () => backend.resize(control.windowSize),
  };
};
