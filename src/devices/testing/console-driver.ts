/** A console driver that talks to the device as Linux does (drivers/char/virtio_console.c), over real pipes. */
import { closeSync, readSync, writeSync } from "node:fs";
import { O_CLOEXEC, O_NONBLOCK } from "../../ffi/constants.ts";
import { check, pipe2 } from "../../ffi/libc.ts";
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import {
  consoleModel,
  receiveQueue,
  transmitQueue,
  VirtioConsole,
  type ConsolePort,
  type WindowSize,
} from "../virtio/console.ts";
import { type DriverQueue, Rig } from "./driver.ts";

export const DEVICE_READY = 0;
export const PORT_ADD = 1;
export const PORT_READY = 3;
export const CONSOLE_PORT = 4;
export const RESIZE = 5;
export const PORT_OPEN = 6;
export const PORT_NAME = 7;
const NO_PORT = 0xffff_ffff;

export const CONTROL_RX = 2;
export const CONTROL_TX = 3;
const CONTROL_BUFFER = 64;

export interface ControlMessage {
  readonly id: number;
  readonly event: number;
  readonly value: number;
  /** What follows the eight bytes of the message. */
  readonly rest: Buffer;
}

/** The host's side of one port. */
export class HostPort {
  readonly port: ConsolePort;
  /** The ends that belong to the host. */
  readonly #toGuest: number;
  readonly #fromGuest: number;
  readonly #open = new Set<number>();

  constructor(name: string) {
    const pipe = (): [number, number] => {
      const fds = new Int32Array(2);
      check(pipe2(fds, O_CLOEXEC | O_NONBLOCK), "pipe2");
      this.#open.add(fds[0]!).add(fds[1]!);
      return [fds[0]!, fds[1]!];
    };
    const [inputFd, toGuest] = pipe();
    const [fromGuest, outputFd] = pipe();
    this.port = { name, inputFd, outputFd };
    this.#toGuest = toGuest;
    this.#fromGuest = fromGuest;
  }

  write(text: string | Uint8Array): void {
    writeSync(this.#toGuest, Buffer.from(text));
  }

  /** All that is in the pipe now. */
  read(limit = 1 << 20): Buffer {
    const pieces: Buffer[] = [];
    for (let left = limit; left > 0;) {
      const piece = Buffer.alloc(Math.min(left, 65536));
      let got = 0;
      try {
        got = readSync(this.#fromGuest, piece);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      }
      if (got === 0) break;
      pieces.push(piece.subarray(0, got));
      left -= got;
    }
    return Buffer.concat(pieces);
  }

  endInput(): void {
    this.#close(this.#toGuest);
  }

  stopReading(): void {
    this.#close(this.#fromGuest);
  }

  close(): void {
    for (const fd of this.#open) closeSync(fd);
    this.#open.clear();
  }

  #close(fd: number): void {
    closeSync(fd);
    this.#open.delete(fd);
  }
}

export class ConsoleDriver {
  readonly rig: Rig<VirtioConsole>;
  readonly hosts: readonly HostPort[];
  queues: DriverQueue[] = [];
  readonly #buffers = new Map<string, number>();

  constructor(memory: GuestMemory, names: readonly string[], size: WindowSize = { rows: 24, columns: 80 }) {
    this.hosts = names.map((name) => new HostPort(name));
    const ports = this.hosts.map(({ port }) => port);
    this.rig = new Rig(
      consoleModel(names.length, size),
      memory,
      (state) => new VirtioConsole(state, memory, ports, size),
    );
  }

  /** Features, queues, DRIVER_OK, and buffers for control messages. */
  bringUp(features?: bigint, controlBuffers = 16): void {
    this.queues = this.rig.bringUp(features);
    for (let count = 0; count < controlBuffers; count++) this.#giveBuffer(CONTROL_RX, CONTROL_BUFFER);
    this.rig.backend.synchronize();
  }

  /** The whole handshake, up to open ports. Returns the messages of the device. */
  handshake(): ControlMessage[] {
    this.bringUp();
    const messages = this.sendControl(NO_PORT, DEVICE_READY, 1);
    for (const { id } of messages.filter(({ event }) => event === PORT_ADD)) {
      messages.push(...this.sendControl(id, PORT_READY, 1));
      messages.push(...this.sendControl(id, PORT_OPEN, 1));
    }
    return messages;
  }

  /** Sends a message and returns the answers. */
  sendControl(id: number, event: number, value: number): ControlMessage[] {
    const message = Buffer.alloc(8);
    message.writeUInt32LE(id, 0);
    message.writeUInt16LE(event, 4);
    message.writeUInt16LE(value, 6);
    this.sendRaw(message);
    return this.takeControl();
  }

  sendRaw(message: Uint8Array): void {
    this.queues[CONTROL_TX]!.submit([this.rig.place(message)]);
    this.rig.run(CONTROL_TX);
    this.queues[CONTROL_TX]!.takeUsed();
  }

  /** Control messages that have arrived; their buffers go back to the device. */
  takeControl(): ControlMessage[] {
    return this.take(CONTROL_RX, CONTROL_BUFFER).map((bytes) => ({
      id: bytes.readUInt32LE(0),
      event: bytes.readUInt16LE(4),
      value: bytes.readUInt16LE(6),
      rest: bytes.subarray(8),
    }));
  }

  /** Gives port `port` buffers of `length` bytes for its input, and lets the device know. */
  giveInput(port: number, length: number, count = 1): void {
    const index = receiveQueue(port);
    for (let given = 0; given < count; given++) this.#giveBuffer(index, length);
    this.rig.run(index);
  }

  /** Input of `port` that has arrived. */
  takeInput(port: number): string {
    return Buffer.concat(this.take(receiveQueue(port), 0)).toString("latin1");
  }

  /** What the I/O thread does when a pipe has become readable or writable. */
  poll(port: number): void {
    this.rig.run(receiveQueue(port));
    this.rig.run(transmitQueue(port));
  }

  output(port: number, pieces: readonly Uint8Array[]): void {
    const index = transmitQueue(port);
    this.queues[index]!.submit(pieces.map((piece) => this.rig.place(piece)));
    this.rig.run(index);
  }

  close(): void {
    for (const host of this.hosts) host.close();
  }

  /** Contents of the buffers that came back on `queue`; with `again` bytes each they go to the device once more. */
  take(queue: number, again: number): Buffer[] {
    return this.queues[queue]!.takeUsed().map(({ id, length }) => {
      const gpa = this.#buffers.get(`${queue}/${id}`)!;
      const bytes = Buffer.from(this.rig.bytes.slice(gpa, gpa + length));
      if (again > 0) this.#giveBuffer(queue, again, gpa);
      return bytes;
    });
  }

  #giveBuffer(queue: number, length: number, gpa = this.rig.allocate(length)): void {
    const head = this.queues[queue]!.submit([{ gpa, length, writable: true }]);
    this.#buffers.set(`${queue}/${head}`, gpa);
  }
}
