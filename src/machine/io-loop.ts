/**
 * The I/O thread: one epoll loop over queue notifications, status changes and host pipes. Everything is registered edge-triggered:
 * an eventfd need not be read, and a pipe whose data the guest cannot take yet does not make the loop spin.
 */
import { VirtioBlk } from "../devices/virtio/blk.ts";
import { receiveQueue, transmitQueue, VirtioConsole } from "../devices/virtio/console.ts";
import type { VirtioBackend } from "../devices/virtio/backend.ts";
import type { VirtioState } from "../devices/virtio/state.ts";
import { VirtioRng } from "../devices/virtio/rng.ts";
import type { Serial } from "../devices/serial.ts";
import type { BlockBackend } from "../disk/backend.ts";
import { buildDisk } from "../disk/plan.ts";
import { EINTR, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLLET, EPOLLIN, EPOLLOUT } from "../ffi/constants.ts";
import { SystemCallError } from "../ffi/errno.ts";
import { check, close, epoll_create1, epoll_ctl, epoll_wait, errno, read } from "../ffi/libc.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
import { GuestMemory } from "../kvm/guest-memory.ts";
import { ControlBlock } from "./control.ts";
import { serialOf, virtioStateOf } from "./devices.ts";
import { ring } from "./doorbell.ts";
import type { MachinePlan, VirtioPlan } from "./plan.ts";

/** struct epoll_event is packed on x86-64: u32 events, u64 data. */
const EPOLL_EVENT_SIZE = 12;
const MAX_EVENTS = 64;

/** Runs until the main thread asks it to stop. */
export function runIoLoop(machine: MachinePlan): void {
  const loop = new IoLoop();
  const disks: BlockBackend[] = [];
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
    // What a format still holds in memory goes to the file.
    for (const disk of disks) disk.close?.();
    loop.close();
  }
}

function buildBackend(
  machine: MachinePlan,
  plan: VirtioPlan,
  memory: GuestMemory,
  disks: BlockBackend[],
): VirtioBackend {
  const state = virtioStateOf(machine, plan);
  const { backend } = plan;
  switch (backend.type) {
    case "rng":
      return new VirtioRng(state, memory);
    case "blk":
      return blockDevice(state, memory, backend, disks);
    case "console":
      return new VirtioConsole(state, memory, backend.ports, backend.size);
  }
}

function blockDevice(
  state: VirtioState,
  memory: GuestMemory,
  { disk: plan, serial }: Extract<VirtioPlan["backend"], { type: "blk" }>,
  disks: BlockBackend[],
): VirtioBlk {
  const disk = buildDisk(plan);
  disks.push(disk);
  return new VirtioBlk(state, memory, disk, { readOnly: plan.readOnly, serial });
}

function watchDevice(loop: IoLoop, plan: VirtioPlan, device: VirtioBackend): void {
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

function watchSerialInput(loop: IoLoop, machine: MachinePlan, serial: Serial): void {
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

class IoLoop {
  readonly #epollFd = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  readonly #handlers: (() => void)[] = [];
  #stopped = false;

  watch(fd: number, events: number, handler: () => void): void {
    const event = new Uint32Array([(events | EPOLLET) >>> 0, this.#handlers.length, 0]);
    check(epoll_ctl(this.#epollFd, EPOLL_CTL_ADD, fd, event), "epoll_ctl");
    this.#handlers.push(handler);
  }

  stop(): void {
    this.#stopped = true;
  }

  run(): void {
    const { address, buffer } = allocateNative(MAX_EVENTS * EPOLL_EVENT_SIZE);
    const words = new Uint32Array(buffer);
    while (!this.#stopped) {
      const count = epoll_wait(this.#epollFd, address, MAX_EVENTS, -1);
      if (count < 0) {
        const error = errno();
        if (error === EINTR) continue;
        throw new SystemCallError("epoll_wait", error);
      }
      for (let index = 0; index < count; index++) {
        this.#handlers[words[(index * EPOLL_EVENT_SIZE) / 4 + 1]!]!();
      }
    }
  }

  close(): void {
    close(this.#epollFd);
  }
}
