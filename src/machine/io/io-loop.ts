/** The I/O thread: one {@link EventLoop} over queue notifications, status changes, finished transfers and host descriptors. */
import {
  ActivityCounter,
  activityCounters,
  entropyCounters,
  type ActivityCounters,
} from "../../devices/virtio/device-counters.ts";
import { VirtioRng } from "../../devices/virtio/rng.ts";
import type { VirtioState } from "../../devices/virtio/state.ts";
import { EPOLLIN } from "../../ffi/constants.ts";
import { GuestMemory } from "../../kvm/guest-memory.ts";
import { ControlBlock } from "../control.ts";
import { serialOf, virtioStateOf } from "../devices.ts";
import { ring } from "../doorbell.ts";
import type { EntropyBackendPlan, MachinePlan, VirtioPlan } from "../plan.ts";
import { buildBalloon } from "./balloon.ts";
import { buildConsole } from "./console.ts";
import type { IoContext, IoDevice } from "./device.ts";
import { Disks } from "./disks.ts";
import { EventLoop } from "./event-loop.ts";
import { buildNet } from "./net.ts";
import { watchSerialInput } from "./serial-input.ts";
import { buildVsock } from "./vsock.ts";

/** Runs until the main thread asks it to stop. `warn` is told what the user should know of. */
export function runIoLoop(machine: MachinePlan, warn: (text: string) => void): void {
  const loop = new EventLoop();
  const control = new ControlBlock(machine.shared, machine.control.offset, machine.control.bytes);
  const context: IoContext = { machine, memory: new GuestMemory(machine.memory), control, loop, warn };
  const disks = new Disks(context);
  const devices: IoDevice[] = [];
  try {
    for (const plan of machine.virtio) {
      const device = buildDevice(context, plan, virtioStateOf(machine, plan), disks);
      devices.push(device);
      watchDevice(loop, plan, device, activityCounters(machine.shared, plan.activity.offset));
    }
    watchSerialInput(loop, machine.serial, serialOf(machine));
    loop.watch(machine.ioControlFd, EPOLLIN, () => {
      if (control.ioStop) loop.stop();
      else for (const { controlChanged } of devices) controlChanged?.();
    });
    if (!control.ioStop) loop.run();
  } finally {
    for (const { close } of devices) close?.();
    disks.close();
    loop.close();
  }
}

function buildDevice(context: IoContext, plan: VirtioPlan, state: VirtioState, disks: Disks): IoDevice {
  const { backend } = plan;
  switch (backend.type) {
    case "rng":
      return { backend: buildEntropy(context, state, backend) };
    case "blk":
      return { backend: disks.open(state, plan, backend) };
    case "console":
      return buildConsole(context, state, plan, backend);
    case "net":
      return buildNet(context, state, plan, backend);
    case "vsock":
      return buildVsock(context, state, plan, backend);
    case "balloon":
      return buildBalloon(context, state, plan, backend);
  }
}

function buildEntropy(
  { machine, memory }: IoContext,
  state: VirtioState,
  { counters }: EntropyBackendPlan,
): VirtioRng {
  return new VirtioRng(state, memory, entropyCounters(machine.shared, counters.offset));
}

function watchDevice(
  loop: EventLoop,
  plan: VirtioPlan,
  { backend, attach }: IoDevice,
  activity: ActivityCounters,
): void {
  const runners = plan.notifyFds.map((fd, index) => {
    const run = (): void => {
      // Stopped for fairness with work left: ring our own bell, so that the others get their turn first.
      if (backend.run(index)) ring(fd);
    };
    loop.watch(fd, EPOLLIN, () => {
      activity.add(ActivityCounter.notifications);
      run();
    });
    return run;
  });
  loop.watch(plan.wakeFd, EPOLLIN, () => {
    backend.synchronize();
    // A notification may have come before the status change that makes the queue usable.
    for (const run of runners) run();
  });
  attach?.(runners);
}
