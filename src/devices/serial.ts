/**
 * A 16550A UART (National Semiconductor PC16550D data sheet). Transmission takes no time: a byte written to THR has left
 * at once, so the transmitter is always empty. Reception has the chip's FIFO of 16 bytes; the sender asks
 * {@link Serial.receiveSpace} first and keeps what does not fit.
 */
import type { BusDevice } from "./bus.ts";
import { Lock } from "./lock.ts";

/** Register offsets. With LCR.DLAB set, 0 and 1 are the divisor latches. */
const RBR_THR = 0;
const IER = 1;
const IIR_FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

const IER_RDI = 0x01; // received data available
const IER_THRI = 0x02; // transmitter holding register empty
const IER_MASK = 0x0f;

const IIR_NO_INT = 0x01;
const IIR_THRI = 0x02;
const IIR_RDI = 0x04;
const IIR_FIFO_ENABLED = 0xc0;

const FCR_ENABLE = 0x01;
const FCR_CLEAR_RCVR = 0x02;

const LCR_DLAB = 0x80;

const MCR_DTR = 0x01;
const MCR_RTS = 0x02;
const MCR_OUT1 = 0x04;
const MCR_OUT2 = 0x08;
const MCR_LOOP = 0x10;
const MCR_MASK = 0x1f;

const LSR_DR = 0x01; // data ready
const LSR_THRE = 0x20; // transmitter holding register empty
const LSR_TEMT = 0x40; // transmitter empty

const MSR_CTS = 0x10;
const MSR_DSR = 0x20;
const MSR_RI = 0x40;
const MSR_DCD = 0x80;

const FIFO_SIZE = 16;

/** Words of shared state. */
const W = {
  LOCK: 0,
  IER: 1,
  LCR: 2,
  MCR: 3,
  SCR: 4,
  DLL: 5,
  DLM: 6,
  FCR: 7,
  THRI_PENDING: 8,
  FIFO_HEAD: 9,
  FIFO_COUNT: 10,
  SENDER_WAITS: 11,
  FIFO: 12,
} as const;

/** What a UART does to the world. */
export interface SerialEffects {
  /** Raises an edge on the interrupt line. */
  interrupt(): void;
  /** Sends one byte. */
  transmit(byte: number): void;
  /** The receive FIFO has room again after {@link Serial.receiveSpace} said that it was full. */
  receiveReady(): void;
}

/**
 * @example
 * const uart = new Serial(new Int32Array(new SharedArrayBuffer(Serial.STATE_BYTES)), effects);
 * uart.write(0, 1, 0x41); // effects.transmit(0x41)
 */
export class Serial implements BusDevice {
  static readonly PORTS = 8;
  static readonly STATE_BYTES = (W.FIFO + FIFO_SIZE) * 4;

  readonly #words: Int32Array;
  readonly #lock: Lock;
  readonly #effects: SerialEffects;

  constructor(words: Int32Array, effects: SerialEffects) {
    this.#words = words;
    this.#lock = new Lock(words, W.LOCK);
    this.#effects = effects;
  }

  read(offset: number, size: number): number {
    // The chip is 8 bits wide; a wider access is none that a driver makes.
    if (size !== 1) return size === 2 ? 0xffff : 0xffff_ffff;
    this.#lock.acquire();
    let wakeSender = false;
    let value = 0;
    const words = this.#words;
    const dlab = (words[W.LCR]! & LCR_DLAB) !== 0;
    switch (offset) {
      case RBR_THR:
        if (dlab) value = words[W.DLL]!;
        else {
          value = this.#takeReceived();
          wakeSender = words[W.FIFO_COUNT] === 0 && words[W.SENDER_WAITS] !== 0;
        }
        break;
      case IER:
        value = dlab ? words[W.DLM]! : words[W.IER]!;
        break;
      case IIR_FCR:
        value = this.#identifyInterrupt();
        break;
      case LCR:
        value = words[W.LCR]!;
        break;
      case MCR:
        value = words[W.MCR]!;
        break;
      case LSR:
        value = LSR_THRE | LSR_TEMT | (words[W.FIFO_COUNT]! > 0 ? LSR_DR : 0);
        break;
      case MSR:
        value = this.#modemStatus();
        break;
      case SCR:
        value = words[W.SCR]!;
        break;
    }
    if (wakeSender) words[W.SENDER_WAITS] = 0;
    this.#lock.release();
    if (wakeSender) this.#effects.receiveReady();
    return value;
  }

  write(offset: number, size: number, value: number): void {
    if (size !== 1) return;
    this.#lock.acquire();
    let interrupt = false;
    let transmit = false;
    let wakeSender = false;
    const words = this.#words;
    const dlab = (words[W.LCR]! & LCR_DLAB) !== 0;
    switch (offset) {
      case RBR_THR:
        if (dlab) words[W.DLL] = value;
        else {
          transmit = (words[W.MCR]! & MCR_LOOP) === 0;
          if (!transmit) interrupt = this.#putReceived(value);
          interrupt = this.#transmitterEmpty() || interrupt;
        }
        break;
      case IER:
        if (dlab) words[W.DLM] = value;
        else {
          const enabled = value & IER_MASK & ~words[W.IER]!;
          words[W.IER] = value & IER_MASK;
          // What is off does not stay pending: switched on again, it has to raise an edge.
          if ((value & IER_THRI) === 0) words[W.THRI_PENDING] = 0;
          // Enabling an interrupt whose condition already holds raises it at once.
          if ((enabled & IER_THRI) !== 0) interrupt = this.#transmitterEmpty();
          if ((enabled & IER_RDI) !== 0 && words[W.FIFO_COUNT]! > 0) interrupt = true;
        }
        break;
      case IIR_FCR:
        words[W.FCR] = value & FCR_ENABLE;
        if ((value & FCR_CLEAR_RCVR) !== 0) {
          words[W.FIFO_COUNT] = 0;
          wakeSender = words[W.SENDER_WAITS] !== 0;
        }
        break;
      case LCR:
        words[W.LCR] = value;
        break;
      case MCR:
        words[W.MCR] = value & MCR_MASK;
        // Leaving loopback opens the line for whoever waited to send.
        wakeSender = (value & MCR_LOOP) === 0 && words[W.SENDER_WAITS] !== 0;
        break;
      case SCR:
        words[W.SCR] = value;
        break;
    }
    if (wakeSender) words[W.SENDER_WAITS] = 0;
    this.#lock.release();
    if (wakeSender) this.#effects.receiveReady();
    if (transmit) this.#effects.transmit(value);
    if (interrupt) this.#effects.interrupt();
  }

  /** How many received bytes fit now. When none do, {@link SerialEffects.receiveReady} is called once they do. */
  receiveSpace(): number {
    this.#lock.acquire();
    const space = this.#blockedByLoop() ? 0 : FIFO_SIZE - this.#words[W.FIFO_COUNT]!;
    if (space === 0) this.#words[W.SENDER_WAITS] = 1;
    this.#lock.release();
    return space;
  }

  /** Puts received bytes into the FIFO, at most as many as {@link receiveSpace} said. */
  receive(bytes: Uint8Array): void {
    this.#lock.acquire();
    let interrupt = false;
    for (const byte of bytes) interrupt = this.#putReceived(byte) || interrupt;
    this.#lock.release();
    if (interrupt) this.#effects.interrupt();
  }

  #blockedByLoop(): boolean {
    return (this.#words[W.MCR]! & MCR_LOOP) !== 0;
  }

  #takeReceived(): number {
    const words = this.#words;
    if (words[W.FIFO_COUNT]! <= 0) return 0;
    const head = words[W.FIFO_HEAD]! & (FIFO_SIZE - 1);
    words[W.FIFO_HEAD] = (head + 1) & (FIFO_SIZE - 1);
    words[W.FIFO_COUNT]! -= 1;
    return words[W.FIFO + head]!;
  }

  #putReceived(byte: number): boolean {
    const words = this.#words;
    if (words[W.FIFO_COUNT]! >= FIFO_SIZE) return false;
    const tail = (words[W.FIFO_HEAD]! + words[W.FIFO_COUNT]!) & (FIFO_SIZE - 1);
    words[W.FIFO + tail] = byte;
    words[W.FIFO_COUNT]! += 1;
    return (words[W.IER]! & IER_RDI) !== 0;
  }

  #transmitterEmpty(): boolean {
    if ((this.#words[W.IER]! & IER_THRI) === 0 || this.#words[W.THRI_PENDING] !== 0) return false;
    this.#words[W.THRI_PENDING] = 1;
    return true;
  }

  #identifyInterrupt(): number {
    const words = this.#words;
    const fifo = words[W.FCR] !== 0 ? IIR_FIFO_ENABLED : 0;
    if ((words[W.IER]! & IER_RDI) !== 0 && words[W.FIFO_COUNT]! > 0) return fifo | IIR_RDI;
    if ((words[W.IER]! & IER_THRI) !== 0 && words[W.THRI_PENDING] !== 0) {
      // Reading IIR clears this source, and only this one.
      words[W.THRI_PENDING] = 0;
      return fifo | IIR_THRI;
    }
    return fifo | IIR_NO_INT;
  }

  #modemStatus(): number {
    const mcr = this.#words[W.MCR]!;
    if ((mcr & MCR_LOOP) === 0) return MSR_CTS | MSR_DSR | MSR_DCD;
    // Loopback connects the four outputs to the four inputs.
    return (
      ((mcr & MCR_RTS) !== 0 ? MSR_CTS : 0) |
      ((mcr & MCR_DTR) !== 0 ? MSR_DSR : 0) |
      ((mcr & MCR_OUT1) !== 0 ? MSR_RI : 0) |
      ((mcr & MCR_OUT2) !== 0 ? MSR_DCD : 0)
    );
  }
}
