/**
 * Console device with several ports, virtio 1.2 section 5.3. Port 0 is the console (hvc0 in Linux); further ports have names
 * and carry bytes (/dev/vportNpM). Each port is a pair of pipes on the host: bytes move between pipe and guest memory
 * without a copy, and a full pipe holds the guest back instead of growing a buffer.
 */
import { EAGAIN } from "../../ffi/constants.ts";
import { IoVector } from "../../ffi/iovec.ts";
import { errno, readv, writev } from "../../ffi/libc.ts";
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import { BLOCKED, byteAddress, gather, UNFINISHED, VirtioBackend } from "./backend.ts";
import { VIRTIO_ID_CONSOLE } from "./constants.ts";
import { ConsoleCounter, consoleCounters, type ConsoleCounters } from "./device-counters.ts";
import { VirtqueueError, type DescriptorChain } from "./queue.ts";
import type { VirtioModel, VirtioState } from "./state.ts";

const VIRTIO_CONSOLE_F_SIZE = 0;
const VIRTIO_CONSOLE_F_MULTIPORT = 1;

const CONTROL_RX = 2;
const CONTROL_TX = 3;
/** Linux fills a receive queue with one page per entry when it finds the port: on a slow guest a large one is dear. */
const RECEIVE_QUEUE_SIZE = 16;
const TRANSMIT_QUEUE_SIZE = 128;
const CONTROL_QUEUE_SIZE = 16;

/** struct virtio_console_control { le32 id; le16 event; le16 value; }, followed by text in some messages. */
const CONTROL_BYTES = 8;
const EVENT_BYTE = 4;
const DEVICE_READY = 0;
const PORT_ADD = 1;
const PORT_READY = 3;
const CONSOLE_PORT = 4;
const RESIZE = 5;
const PORT_OPEN = 6;
const PORT_NAME = 7;

/** A driver that asks on and on without taking the answers is broken. */
const MAX_PENDING_CONTROL = 256;
const LARGEST_READ = 64 * 1024;
/** Bytes of one chain after which other queues get their turn: a chain may be as long as the guest likes. */
const LARGEST_WRITE = 1 << 20;

/** One port: the host reads what the guest writes from the other end of `output`, and the other way round. */
export interface ConsolePort {
  /** Empty for port 0. */
  readonly name: string;
  /** Non-blocking ends of pipes. */
  readonly inputFd: number;
  readonly outputFd: number;
}

/** Of a terminal, in characters. */
export interface WindowSize {
  readonly rows: number;
  readonly columns: number;
}

export function consoleModel(ports: number, { rows, columns }: WindowSize): VirtioModel {
  const config = new Uint8Array(12);
  const view = new DataView(config.buffer);
  view.setUint16(0, columns, true); // cols
  view.setUint16(2, rows, true); // rows
  view.setUint32(4, ports, true); // max_nr_ports
  const port = [RECEIVE_QUEUE_SIZE, TRANSMIT_QUEUE_SIZE];
  const control = [CONTROL_QUEUE_SIZE, CONTROL_QUEUE_SIZE];
  return {
    deviceId: VIRTIO_ID_CONSOLE,
    features: [VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_MULTIPORT],
    queueSizes: [...port, ...control, ...Array.from({ length: ports - 1 }, () => port).flat()],
    config,
  };
}

export function receiveQueue(port: number): number {
  return port === 0 ? 0 : 2 + 2 * port;
}

export function transmitQueue(port: number): number {
  return receiveQueue(port) + 1;
}

export class VirtioConsole extends VirtioBackend {
  readonly #ports: readonly ConsolePort[];
  readonly #vector = new IoVector();
  /** Bytes of the chain at the head of each transmit queue that have left already. */
  readonly #sent: number[];
  /** Which ports the driver has opened: Linux throws away what comes for the others. */
  readonly #open: boolean[];
  #pending: Uint8Array[] = [];
  #size: WindowSize;
  readonly #counters: ConsoleCounters;

  constructor(
    state: VirtioState,
    memory: GuestMemory,
    ports: readonly ConsolePort[],
    size: WindowSize,
    counters: ConsoleCounters = consoleCounters(),
  ) {
    super(state, memory);
    this.#counters = counters;
    this.#ports = ports;
    this.#sent = ports.map(() => 0);
    this.#open = ports.map(() => false);
    this.#size = size;
  }

  override run(index: number): boolean {
    let again = super.run(index);
    // What the driver says on one control queue is answered on the other.
    if (index === CONTROL_TX) {
      this.#deliverControl();
      // A port that has just been opened may have input waiting.
      for (const port of this.#ports.keys()) again = super.run(receiveQueue(port)) || again;
    }
    return again;
  }

  /** The terminal behind port 0 has a new size: tells the driver, now or when it comes up. */
  resize(size: WindowSize): void {
    this.#size = size;
    const payload = this.#sizeBytes();
    this.state.config.set(payload); // cols and rows
    if (!this.state.live) return;
    if (!this.#multiport) {
      this.state.notifyConfig();
      return;
    }
    const waiting = this.#pending.find((message) => message[EVENT_BYTE] === RESIZE);
    if (waiting !== undefined) waiting.set(payload, CONTROL_BYTES);
    else if (this.#pending.length < MAX_PENDING_CONTROL) this.#control(0, RESIZE, 0, payload);
    this.#deliverControl();
  }

  protected override handle(index: number, chain: DescriptorChain): number {
    if (index === CONTROL_RX) return this.#sendControl(chain);
    if (index === CONTROL_TX) return this.#receiveControl(chain);
    const port = index < 2 ? 0 : (index - 2) >> 1;
    return (index & 1) === 0 ? this.#input(port, chain) : this.#output(port, chain);
  }

  protected override reset(): void {
    this.#pending = [];
    this.#sent.fill(0);
    this.#open.fill(false);
  }

  get #multiport(): boolean {
    return this.state.negotiated(VIRTIO_CONSOLE_F_MULTIPORT);
  }

  #input(port: number, chain: DescriptorChain): number {
    // Without the feature there is no handshake: the one port is open as long as the device is live.
    if (this.#multiport && !this.#open[port]!) return BLOCKED;
    if (chain.writableBytes === 0) return 0;
    gather(this.#vector, chain, "writable", 0, LARGEST_READ);
    const got = readv(this.#ports[port]!.inputFd, this.#vector.address, this.#vector.count);
    // Nothing there, or the host has closed its end: the buffer waits for better times.
    if (got <= 0) return BLOCKED;
    this.#counters.add(ConsoleCounter.receivedBytes, got);
    return got;
  }

  #output(port: number, chain: DescriptorChain): number {
    let sent = this.#sent[port]!;
    const pause = sent + LARGEST_WRITE;
    while (sent < chain.readableBytes) {
      if (sent >= pause) {
        this.#sent[port] = sent;
        return UNFINISHED;
      }
      gather(this.#vector, chain, "readable", sent, Math.min(chain.readableBytes, pause) - sent);
      const wrote = writev(this.#ports[port]!.outputFd, this.#vector.address, this.#vector.count);
      if (wrote < 0) {
        if (errno() === EAGAIN) {
          this.#sent[port] = sent;
          return BLOCKED;
        }
        break; // nobody listens any more: the bytes are lost, the guest goes on
      }
      sent += wrote;
      this.#counters.add(ConsoleCounter.sentBytes, wrote);
    }
    this.#sent[port] = 0;
    return 0;
  }

  #receiveControl(chain: DescriptorChain): number {
    if (chain.readableBytes < CONTROL_BYTES) throw new VirtqueueError("console control message too short");
    const byte = (offset: number): number => this.memory.getUint8(byteAddress(chain, "readable", offset));
    const id = (byte(0) | (byte(1) << 8) | (byte(2) << 16) | (byte(3) << 24)) >>> 0;
    const event = byte(4) | (byte(5) << 8);
    const value = byte(6) | (byte(7) << 8);
    if (event === DEVICE_READY && value === 1) {
      for (const port of this.#ports.keys()) this.#control(port, PORT_ADD, 1);
    } else if (event === PORT_READY && value === 1 && id < this.#ports.length) {
      this.#introducePort(id);
    } else if (event === PORT_OPEN && id < this.#ports.length) {
      this.#open[id] = value === 1;
    }
    return 0;
  }

  #introducePort(id: number): void {
    const { name } = this.#ports[id]!;
    if (id === 0) {
      this.#control(id, CONSOLE_PORT, 1);
      this.#control(id, RESIZE, 0, this.#sizeBytes());
    }
    if (name !== "") this.#control(id, PORT_NAME, 1, new TextEncoder().encode(name));
    this.#control(id, PORT_OPEN, 1);
  }

  #control(id: number, event: number, value: number, text: Uint8Array = new Uint8Array(0)): void {
    if (this.#pending.length >= MAX_PENDING_CONTROL) {
      throw new VirtqueueError("console driver does not take its control messages");
    }
    const message = new Uint8Array(CONTROL_BYTES + text.length);
    const view = new DataView(message.buffer);
    view.setUint32(0, id, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    message.set(text, CONTROL_BYTES);
    this.#pending.push(message);
  }

  /** Hands out as many control messages as the driver has buffers for. Ends: each turn takes messages away. */
  #deliverControl(): void {
    while (super.run(CONTROL_RX) && this.#pending.length > 0);
  }

  #sendControl(chain: DescriptorChain): number {
    const message = this.#pending[0];
    if (message === undefined) return BLOCKED;
    if (chain.writableBytes < message.length) throw new VirtqueueError("console control buffer too small");
    for (const [index, value] of message.entries()) {
      this.memory.setUint8(byteAddress(chain, "writable", index), value);
    }
    this.#pending.shift();
    return message.length;
  }

  /** Payload of RESIZE (struct virtio_console_resize): columns, then rows. */
  #sizeBytes(): Uint8Array {
    const bytes = new Uint8Array(4);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, this.#size.columns, true);
    view.setUint16(2, this.#size.rows, true);
    return bytes;
  }
}
