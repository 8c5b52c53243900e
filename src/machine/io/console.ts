import { receiveQueue, transmitQueue, VirtioConsole } from "../../devices/virtio/console.ts";
import { consoleCounters } from "../../devices/virtio/device-counters.ts";
import { EPOLLIN, EPOLLOUT } from "../../ffi/constants.ts";
import type { ConsoleBackendPlan } from "../plan.ts";
import type { DeviceBuilder } from "./device.ts";

export const buildConsole: DeviceBuilder<ConsoleBackendPlan> = (
  { machine, memory, loop, control },
  state,
  _plan,
  { ports, size, counters },
) => {
  const backend = new VirtioConsole(
    state,
    memory,
    ports,
    size,
    consoleCounters(machine.shared, counters.offset),
  );
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
