/** The I/O thread: one {@link EventLoop} over queue notifications, status changes, finished transfers and host pipes. */
import { receiveQueue, transmitQueue, VirtioConsole } from "../devices/virtio/console.ts";
import type { VirtioBackend } from "../devices/virtio/backend.ts";
import { VirtioRng } from "../devices/virtio/rng.ts";
import type { Serial } from "../devices/serial.ts";
import { EPOLLIN, EPOLLOUT } from "../ffi/constants.ts";
import { read } from "../ffi/libc.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
import { GuestMemory } from "../kvm/guest-memory.ts";
import { ControlBlock } from "./control.ts";
import { serialOf, virtioStateOf } from "./devices.ts";
import { Disks } from "./disks.ts";
import { ring } from "./doorbell.ts";
import { EventLoop } from "./event-loop.ts";
import type { MachinePlan, VirtioPlan } from "./plan.ts";

/** Runs until the main thread asks it to stop. `warn` is told what the user should know of. */
export function runIoLoop(machine: MachinePlan, warn: (text: string) => void): void {
  const loop = new EventLoop();
  const disks = new Disks(machine, loop, warn);
  try {
    const memory = new GuestMemory(machine.memory);
    const control = new ControlBlock(machine.shared, machine.control.offset, machine.control.bytes);
    const consoles: VirtioConsole[] = [];
    for (const plan of machine.virtio) {
      const backend = buildBackend(machine, plan, memory, disks);
      if (backend instanceof VirtioConsole) consoles.push(backend);
      watchDevice(loop, plan, backend);
    }
    watchSerialInput(loop, machine, serialOf(machine));
    loop.watch(machine.ioControlFd, EPOLLIN, () => {
      if (control.ioStop) loop.stop();
      else for (const device of consoles) device.resize(control.windowSize);
    });
    if (!control.ioStop) loop.run();
  } finally {
    disks.close();
    loop.close();
  }
}

function buildBackend(
  machine: MachinePlan,
  plan: VirtioPlan,
  memory: GuestMemory,
  disks: Disks,
): VirtioBackend {
  const state = virtioStateOf(machine, plan);
  const { backend } = plan;
  switch (backend.type) {
    case "rng":
      return new VirtioRng(state, memory);
    case "blk":
      return disks.open(state, memory, plan, backend);
    case "console":
      return new VirtioConsole(state, memory, backend.ports, backend.size);
  }
}

function watchDevice(loop: EventLoop, plan: VirtioPlan, device: VirtioBackend): void {
  const runners = plan.notifyFds.map((fd, index) => {
    const run = (): void => {
      // Stopped for fairness with work left: ring our own bell, so that the others get their turn first.
      if (device.run(index)) ring(fd);
    };
    loop.watch(fd, EPOLLIN, run);
    return run;
  });
  loop.watch(plan.wakeFd, EPOLLIN, () => {
    device.synchronize();
    // A notification may have come before the status change that makes the queue usable.
    for (const run of runners) run();
  });
  if (plan.backend.type !== "console") return;
  for (const [index, port] of plan.backend.ports.entries()) {
    loop.watch(port.inputFd, EPOLLIN, runners[receiveQueue(index)]!);
    loop.watch(port.outputFd, EPOLLOUT, runners[transmitQueue(index)]!);
  }
}

function watchSerialInput(loop: EventLoop, machine: MachinePlan, serial: Serial): void {
  const { inputFd, readyFd } = machine.serial;
  const buffer = allocateNative(16);
  const bytes = new Uint8Array(buffer.buffer);
  const pump = (): void => {
    for (let space = serial.receiveSpace(); space > 0; space = serial.receiveSpace()) {
      const got = read(inputFd, buffer.address, space);
      if (got <= 0) return;
      serial.receive(bytes.subarray(0, got));
    }
  };
  loop.watch(inputFd, EPOLLIN, pump);
  loop.watch(readyFd, EPOLLIN, pump);
}
