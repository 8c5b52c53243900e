import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { Serial } from "./serial.ts";

const RBR = 0;
const THR = 0;
const IER = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

const RDI = 1;
const THRI = 2;
const DLAB = 0x80;
const LOOP = 0x10;
const NO_INTERRUPT = 1;
const IS_THRI = 2;
const IS_RDI = 4;

class World {
  interrupts = 0;
  ready = 0;
  sent: number[] = [];
  readonly words = new Int32Array(new SharedArrayBuffer(Serial.STATE_BYTES));
  readonly uart = this.another();

  /** One more object over the same state, as another thread has it. */
  another(): Serial {
    return new Serial(this.words, {
      interrupt: () => this.interrupts++,
      transmit: (byte) => this.sent.push(byte),
      receiveReady: () => this.ready++,
    });
  }

  get(register: number): number {
    return this.uart.read(register, 1);
  }

  set(register: number, value: number): void {
    this.uart.write(register, 1, value);
  }

  /** Interrupts since the last time this was asked. */
  taken(): number {
    const count = this.interrupts;
    this.interrupts = 0;
    return count;
  }

  receive(...bytes: number[]): void {
    this.uart.receive(Uint8Array.from(bytes));
  }
}

describe("Serial", () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });

  it("documents itself: a byte written to the first register is sent", () => {
    world.uart.write(0, 1, 0x41);
    expect(world.sent).toEqual([0x41]);
  });

  it("starts with nothing pending and an empty transmitter", () => {
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((register) => world.get(register))).toEqual([
      0,
      0,
      NO_INTERRUPT,
      0,
      0,
      0x60,
      0xb0, // clear to send, data set ready, carrier
      0,
    ]);
    expect(world.interrupts).toBe(0);
  });

  it("keeps what registers hold, and only the bits they have", () => {
    for (const [register, mask] of [
      [IER, 0x0f],
      [MCR, 0x1f],
      [SCR, 0xff],
      [LCR, 0xff],
    ] as const) {
      world.set(register, 0xff);
      expect(world.get(register)).toBe(mask);
      world.set(register, 0);
      expect(world.get(register)).toBe(0);
    }
  });

  it("does not change by writes to status registers", () => {
    world.set(LSR, 0xff);
    world.set(MSR, 0xff);
    expect(world.get(LSR)).toBe(0x60);
    expect(world.get(MSR)).toBe(0xb0);
  });

  it("has the divisor behind DLAB", () => {
    world.set(IER, RDI);
    world.set(LCR, DLAB | 3);
    world.set(0, 0x0c);
    world.set(1, 0x01);
    expect([world.get(0), world.get(1)]).toEqual([0x0c, 0x01]);
    world.receive(0x55);
    expect(world.get(0)).toBe(0x0c);
    world.set(LCR, 3);
    expect([world.get(0), world.get(1)]).toEqual([0x55, RDI]);
    expect(world.sent).toEqual([]);
  });

  it("ignores accesses that are wider than the chip", () => {
    world.uart.write(THR, 2, 0x4141);
    world.uart.write(THR, 4, 0x4141_4141);
    expect(world.sent).toEqual([]);
    expect(world.uart.read(LSR, 2)).toBe(0xffff);
    expect(world.uart.read(LSR, 4)).toBe(0xffff_ffff);
  });

  it("receives in order, up to 16 bytes", () => {
    const bytes = Array.from({ length: 20 }, (_, index) => index + 1);
    expect(world.uart.receiveSpace()).toBe(16);
    world.receive(...bytes);
    expect(world.uart.receiveSpace()).toBe(0);
    expect(world.get(LSR)).toBe(0x61);
    expect(bytes.slice(0, 16).map(() => world.get(RBR))).toEqual(bytes.slice(0, 16));
    expect(world.get(LSR)).toBe(0x60);
    expect(world.get(RBR)).toBe(0);
  });

  it("keeps order when the FIFO wraps around its end", () => {
    const seen: number[] = [];
    for (let byte = 0; byte < 100; byte += 5) {
      world.receive(byte, byte + 1, byte + 2, byte + 3, byte + 4);
      for (let count = 0; count < 5; count++) seen.push(world.get(RBR));
    }
    expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => index));
  });

  it("shows enabled FIFOs in the upper bits of IIR, as drivers probe for them", () => {
    world.set(FCR, 1);
    expect(world.get(IIR)).toBe(0xc0 | NO_INTERRUPT);
    world.set(FCR, 0);
    expect(world.get(IIR)).toBe(NO_INTERRUPT);
  });

  it("empties the receive FIFO on request, and only then", () => {
    world.receive(1, 2, 3);
    world.set(FCR, 1 | 4); // clear the transmit FIFO
    expect(world.get(LSR)).toBe(0x61);
    world.set(FCR, 1 | 2);
    expect(world.get(LSR)).toBe(0x60);
    expect(world.uart.receiveSpace()).toBe(16);
  });

  describe("received data interrupt", () => {
    it("is raised by data when enabled", () => {
      world.receive(1);
      expect(world.taken()).toBe(0);
      expect(world.get(IIR)).toBe(NO_INTERRUPT);
      world.set(IER, RDI);
      expect(world.taken()).toBe(1);
      expect(world.get(IIR)).toBe(IS_RDI);
      world.receive(2, 3);
      expect(world.taken()).toBe(1);
    });

    it("stays identified until the data has been read", () => {
      world.set(IER, RDI);
      world.receive(1, 2);
      expect([world.get(IIR), world.get(IIR)]).toEqual([IS_RDI, IS_RDI]);
      world.get(RBR);
      expect(world.get(IIR)).toBe(IS_RDI);
      world.get(RBR);
      expect(world.get(IIR)).toBe(NO_INTERRUPT);
    });

    it("is not raised by what does not fit", () => {
      world.receive(...Array.from({ length: 16 }, () => 0));
      world.set(IER, RDI);
      world.taken();
      world.receive(1);
      expect(world.taken()).toBe(0);
    });
  });

  describe("transmitter empty interrupt", () => {
    it("is raised when enabled, for the transmitter is always empty, and cleared by reading IIR", () => {
      world.set(IER, THRI);
      expect(world.taken()).toBe(1);
      expect(world.get(IIR)).toBe(IS_THRI);
      expect(world.get(IIR)).toBe(NO_INTERRUPT);
      world.set(IER, THRI);
      expect(world.taken()).toBe(0);
    });

    it("comes after each byte that finds it cleared", () => {
      world.set(IER, THRI);
      world.get(IIR);
      world.taken();
      world.set(THR, 1);
      world.set(THR, 2);
      expect(world.taken()).toBe(1);
      expect(world.get(IIR)).toBe(IS_THRI);
      world.set(THR, 3);
      expect(world.taken()).toBe(1);
    });

    it("gives way to received data, and is not lost by that", () => {
      world.set(IER, RDI | THRI);
      world.receive(9);
      expect(world.get(IIR)).toBe(IS_RDI);
      expect(world.get(IIR)).toBe(IS_RDI);
      world.get(RBR);
      expect(world.get(IIR)).toBe(IS_THRI);
      expect(world.get(IIR)).toBe(NO_INTERRUPT);
    });

    it("is raised anew by a driver that switched it off without ever reading IIR", () => {
      // Linux sends in its receive interrupt, has nothing more to send, and switches THRI off: IIR said RDI all along.
      world.set(IER, RDI | THRI);
      world.receive(9);
      expect(world.get(IIR)).toBe(IS_RDI);
      world.get(RBR);
      world.set(THR, 1);
      world.set(IER, RDI);
      expect(world.get(IIR)).toBe(NO_INTERRUPT);
      world.taken();
      world.set(IER, RDI | THRI);
      expect(world.taken()).toBe(1);
      expect(world.get(IIR)).toBe(IS_THRI);
    });

    it("is silent while disabled", () => {
      world.set(THR, 1);
      expect(world.taken()).toBe(0);
      expect(world.get(IIR)).toBe(NO_INTERRUPT);
    });
  });

  describe("loopback", () => {
    it("connects the modem outputs to the modem inputs", () => {
      for (const [output, input] of [
        [0x01, 0x20], // DTR → DSR
        [0x02, 0x10], // RTS → CTS
        [0x04, 0x40], // OUT1 → RI
        [0x08, 0x80], // OUT2 → DCD
        [0x0f, 0xf0],
        [0x00, 0x00],
      ] as const) {
        world.set(MCR, LOOP | output);
        expect(world.get(MSR)).toBe(input);
      }
    });

    it("gives the driver its own bytes, with both interrupts, and sends none", () => {
      world.set(IER, RDI);
      world.set(MCR, LOOP);
      world.set(THR, 0x77);
      expect(world.sent).toEqual([]);
      expect(world.taken()).toBe(1);
      expect(world.get(RBR)).toBe(0x77);
      world.set(IER, THRI);
      world.get(IIR);
      world.taken();
      world.set(THR, 0x78);
      expect(world.taken()).toBe(1);
      expect(world.get(IIR)).toBe(IS_THRI);
    });

    it("keeps the outside out", () => {
      world.set(MCR, LOOP);
      expect(world.uart.receiveSpace()).toBe(0);
      world.set(MCR, 0);
      expect(world.uart.receiveSpace()).toBe(16);
    });
  });

  describe("a sender that found no room", () => {
    const fill = (): void => {
      world.receive(...Array.from({ length: 16 }, () => 0));
      expect(world.uart.receiveSpace()).toBe(0);
    };

    it("is woken once when the FIFO has been read empty", () => {
      fill();
      for (let count = 0; count < 15; count++) world.get(RBR);
      expect(world.ready).toBe(0);
      world.get(RBR);
      expect(world.ready).toBe(1);
      world.get(RBR);
      expect(world.ready).toBe(1);
    });

    it("is woken when the FIFO is cleared", () => {
      fill();
      world.set(FCR, 1);
      expect(world.ready).toBe(0);
      world.set(FCR, 1 | 2);
      expect(world.ready).toBe(1);
      world.set(FCR, 1 | 2);
      expect(world.ready).toBe(1);
    });

    it("is woken when loopback ends", () => {
      world.set(MCR, LOOP);
      expect(world.uart.receiveSpace()).toBe(0);
      world.set(MCR, LOOP | 3);
      expect(world.ready).toBe(0);
      world.set(MCR, 3);
      expect(world.ready).toBe(1);
      world.set(MCR, 0);
      expect(world.ready).toBe(1);
    });

    it("that was woken too early can wait again, through loopback and a full FIFO", () => {
      fill();
      world.set(MCR, LOOP);
      world.set(MCR, 0);
      expect(world.ready).toBe(1);
      expect(world.uart.receiveSpace()).toBe(0); // still full: waits again
      for (let count = 0; count < 16; count++) world.get(RBR);
      expect(world.ready).toBe(2);
    });

    it("is not woken when nobody waits", () => {
      world.receive(1);
      world.get(RBR);
      world.set(MCR, LOOP);
      world.set(MCR, 0);
      world.set(FCR, 7);
      expect(world.ready).toBe(0);
    });
  });

  it("is one UART, through however many objects", () => {
    const other = world.another();
    other.write(LCR, 1, DLAB);
    world.set(0, 0x12);
    expect(other.read(0, 1)).toBe(0x12);
    other.write(LCR, 1, 0);
    other.write(IER, 1, RDI);
    world.receive(1, 2);
    expect(world.taken()).toBe(1);
    expect([other.read(RBR, 1), world.get(RBR)]).toEqual([1, 2]);
  });

  const access = fc.oneof(
    fc.record({
      kind: fc.constant("write" as const),
      offset: fc.nat(9),
      size: fc.constantFrom(1, 1, 1, 2, 4),
      value: fc.oneof(fc.nat(0xff), fc.nat(0xffff_ffff)),
    }),
    fc.record({
      kind: fc.constant("read" as const),
      offset: fc.nat(9),
      size: fc.constantFrom(1, 1, 1, 2, 4),
    }),
    fc.record({ kind: fc.constant("receive" as const), bytes: fc.uint8Array({ maxLength: 20 }) }),
  );

  it("survives any sequence of accesses, through two objects, and behaves as its model (property)", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(access, fc.boolean()), { maxLength: 120 }), (accesses) => {
        const uarts = new World();
        const other = uarts.another();
        let dlab = false;
        let loop = false;
        let fifo: number[] = [];
        const sent: number[] = [];
        let waiting = false;
        for (const [action, second] of accesses) {
          const uart = second ? other : uarts.uart;
          if (action.kind === "receive") {
            uart.receive(action.bytes);
            fifo = [...fifo, ...action.bytes].slice(0, 16);
          } else if (action.kind === "read") {
            const value = uart.read(action.offset, action.size);
            expect(Number.isInteger(value)).toBe(true);
            expect(value).toBeGreaterThanOrEqual(0);
            expect(value).toBeLessThan(256 ** action.size);
            if (action.size === 1 && action.offset === RBR && !dlab) expect(value).toBe(fifo.shift() ?? 0);
            if (action.size === 1 && action.offset === LSR) expect(value & 1).toBe(fifo.length > 0 ? 1 : 0);
          } else {
            // A byte is all that an access of one byte carries.
            const value = action.size === 1 ? action.value & 0xff : action.value;
            uart.write(action.offset, action.size, value);
            if (action.size === 1) {
              if (action.offset === THR && !dlab && loop && fifo.length < 16) fifo.push(value);
              if (action.offset === THR && !dlab && !loop) sent.push(value);
              if (action.offset === FCR && (value & 2) !== 0) fifo = [];
              if (action.offset === LCR) dlab = (value & DLAB) !== 0;
              if (action.offset === MCR) loop = (value & LOOP) !== 0;
            }
          }
          // No one who was told to wait is forgotten once there is room.
          if (uarts.ready > 0) waiting = false;
          uarts.ready = 0;
          if (waiting) expect(loop || fifo.length > 0).toBe(true);
          const space = uart.receiveSpace();
          expect(space).toBe(loop ? 0 : 16 - fifo.length);
          waiting ||= space === 0;
        }
        expect(uarts.sent).toEqual(sent);
      }),
    );
  });
});
