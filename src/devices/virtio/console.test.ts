import fc from "fast-check";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { GuestMemory } from "../../kvm/guest-memory.ts";
import {
  CONSOLE_PORT,
  CONTROL_RX,
  CONTROL_TX,
  ConsoleDriver,
  DEVICE_READY,
  PORT_ADD,
  PORT_NAME,
  PORT_OPEN,
  PORT_READY,
  RESIZE,
} from "../testing/console-driver.ts";
import { receiveQueue, transmitQueue } from "./console.ts";
import { R } from "./mmio.ts";

const VERSION_1 = 1n << 32n;
const PIPE_BYTES = 64 * 1024;

const memory = GuestMemory.create(16 * 2 ** 20);
afterAll(() => memory.release());

describe("VirtioConsole", () => {
  const drivers: ConsoleDriver[] = [];
  afterEach(() => {
    for (const driver of drivers.splice(0)) driver.close();
  });
  const newDriver = (names: readonly string[] = ["", "agent"]): ConsoleDriver => {
    const driver = new ConsoleDriver(memory, names);
    drivers.push(driver);
    return driver;
  };
  const ready = (names?: readonly string[]): ConsoleDriver => {
    const driver = newDriver(names);
    driver.handshake();
    return driver;
  };
  const size = (rows: number, columns: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt16LE(columns, 0);
    bytes.writeUInt16LE(rows, 2);
    return bytes;
  };

  it("has two queues per port, and those of control after the first", () => {
    const { rig } = newDriver(["", "a", "b"]);
    expect(rig.state.model.queueSizes.length).toBe(8);
    expect([0, 1, 2].map(receiveQueue)).toEqual([0, 4, 6]);
    expect([0, 1, 2].map(transmitQueue)).toEqual([1, 5, 7]);
    const at = (offset: number, bytes: number): number => rig.transport.read(R.Config + offset, bytes);
    expect([at(0, 2), at(2, 2), at(4, 4)]).toEqual([80, 24, 3]);
  });

  it("introduces its ports as Linux expects it", () => {
    const driver = newDriver();
    const none = Buffer.alloc(0);
    expect(driver.handshake()).toEqual([
      { id: 0, event: PORT_ADD, value: 1, rest: none },
      { id: 1, event: PORT_ADD, value: 1, rest: none },
      { id: 0, event: CONSOLE_PORT, value: 1, rest: none },
      { id: 0, event: RESIZE, value: 0, rest: size(24, 80) },
      { id: 0, event: PORT_OPEN, value: 1, rest: none },
      { id: 1, event: PORT_NAME, value: 1, rest: Buffer.from("agent") },
      { id: 1, event: PORT_OPEN, value: 1, rest: none },
    ]);
    expect(driver.rig.needsReset).toBe(false);
  });

  it("does not answer what concerns no port, or what is no question", () => {
    const driver = newDriver();
    driver.bringUp();
    for (const [id, event, value] of [
      [2, PORT_READY, 1],
      [0xffff_ffff, PORT_READY, 1],
      [2, PORT_OPEN, 1],
      [0x8000_0000, PORT_OPEN, 1],
      [0, PORT_READY, 0],
      [0, DEVICE_READY, 0],
      [0, 99, 1],
      [0, 0xffff, 0xffff],
    ] as const) {
      expect(driver.sendControl(id, event, value)).toEqual([]);
    }
    expect(driver.rig.needsReset).toBe(false);
  });

  it("takes control messages longer than eight bytes, and cut into pieces", () => {
    const driver = newDriver();
    driver.bringUp();
    const bytes = [0xff, 0xff, 0xff, 0xff, DEVICE_READY, 0, 1, 0, 55, 66].map((byte) =>
      driver.rig.place(Uint8Array.of(byte)),
    );
    driver.queues[CONTROL_TX]!.submit(bytes);
    driver.rig.run(CONTROL_TX);
    expect(driver.takeControl().length).toBe(2);
  });

  it("gives up on a control message that is too short", () => {
    const driver = newDriver();
    driver.bringUp();
    driver.sendRaw(Buffer.alloc(7));
    expect(driver.rig.needsReset).toBe(true);
    expect(driver.rig.get(R.InterruptStatus) & 2).toBe(2);
  });

  it("gives up on a control buffer that is too small for its message", () => {
    const driver = newDriver();
    driver.bringUp(undefined, 0);
    driver.queues[CONTROL_RX]!.submit([{ gpa: driver.rig.allocate(7), length: 7, writable: true }]);
    driver.sendControl(0xffff_ffff, DEVICE_READY, 1);
    expect(driver.rig.needsReset).toBe(true);
  });

  it("keeps control messages for a driver that has no buffers yet", () => {
    const driver = newDriver();
    driver.bringUp(undefined, 0);
    expect(driver.sendControl(0xffff_ffff, DEVICE_READY, 1)).toEqual([]);
    const at = driver.rig.allocate(16);
    for (const offset of [0, 8])
      driver.queues[CONTROL_RX]!.submit([{ gpa: at + offset, length: 8, writable: true }]);
    driver.rig.run(CONTROL_RX);
    expect(driver.queues[CONTROL_RX]!.takeUsed().map(({ length }) => length)).toEqual([8, 8]);
    expect([driver.rig.ram.getUint32(at, true), driver.rig.ram.getUint32(at + 8, true)]).toEqual([0, 1]);
  });

  it("gives up on a driver that asks on and on and takes no answer", () => {
    const driver = newDriver();
    driver.bringUp(undefined, 0);
    let asked = 0;
    while (!driver.rig.needsReset && asked < 10_000) {
      driver.sendControl(0xffff_ffff, DEVICE_READY, 1);
      asked++;
    }
    expect(driver.rig.needsReset).toBe(true);
    expect(asked).toBeLessThan(300);
    // A reset forgets the answers.
    driver.rig.set(R.Status, 0);
    expect(driver.handshake().length).toBe(7);
  });

  describe("output", () => {
    it("reaches the port's own pipe, gathered from its buffers", () => {
      const driver = ready();
      driver.output(0, [Buffer.from("hel"), Buffer.alloc(0), Buffer.from("lo")]);
      driver.output(1, [Buffer.from("agent")]);
      expect(driver.hosts[0]!.read().toString()).toBe("hello");
      expect(driver.hosts[1]!.read().toString()).toBe("agent");
      expect(driver.queues[transmitQueue(0)]!.takeUsed().map(({ length }) => length)).toEqual([0]);
    });

    it("waits while the pipe is full, and goes on where it stopped", () => {
      const driver = ready();
      const text = Buffer.from(
        Uint8Array.from({ length: 3 * PIPE_BYTES + 1234 }, (_, at) => (at * 31) ^ (at >> 8)),
      );
      driver.output(0, [text.subarray(0, 70_000), text.subarray(70_000, 70_001), text.subarray(70_001)]);
      driver.output(0, [Buffer.from("after")]);
      const queue = driver.queues[transmitQueue(0)]!;
      expect(queue.takeUsed()).toEqual([]);
      const seen: Buffer[] = [];
      for (let turn = 0; turn < 1000 && driver.rig.ram.getUint16(queue.used + 2, true) < 2; turn++) {
        seen.push(driver.hosts[0]!.read(5000));
        driver.poll(0);
      }
      seen.push(driver.hosts[0]!.read());
      expect(Buffer.concat(seen).equals(Buffer.concat([text, Buffer.from("after")]))).toBe(true);
      expect(queue.takeUsed().length).toBe(2);
    });

    it("of one port does not wait for another's", () => {
      const driver = ready();
      driver.output(0, [Buffer.alloc(PIPE_BYTES + 1)]);
      driver.output(1, [Buffer.from("x")]);
      expect(driver.hosts[1]!.read().toString()).toBe("x");
      expect(driver.queues[transmitQueue(0)]!.takeUsed()).toEqual([]);
    });

    it("that nobody will read is dropped, and the guest goes on", () => {
      const driver = ready();
      driver.hosts[0]!.stopReading();
      driver.output(0, [Buffer.alloc(100_000)]);
      driver.output(0, [Buffer.from("more")]);
      expect(driver.queues[transmitQueue(0)]!.takeUsed().length).toBe(2);
      expect(driver.rig.needsReset).toBe(false);
    });

    it("that was under way is forgotten by a reset", () => {
      const driver = ready();
      driver.output(0, [Buffer.alloc(PIPE_BYTES + 100, "a")]);
      driver.rig.set(R.Status, 0);
      driver.handshake();
      driver.hosts[0]!.read();
      driver.output(0, [Buffer.from("fresh")]);
      expect(driver.hosts[0]!.read().toString()).toBe("fresh");
    });

    it("of a chain that has become shorter while it waited ends there", () => {
      const driver = ready();
      driver.output(0, [Buffer.alloc(PIPE_BYTES + 100)]);
      const queue = driver.queues[transmitQueue(0)]!;
      queue.setDescriptor(0, { gpa: 0x1000, length: 3 });
      driver.hosts[0]!.read();
      driver.poll(0);
      expect(queue.takeUsed().length).toBe(1);
      expect(driver.hosts[0]!.read().length).toBe(0);
      expect(driver.rig.needsReset).toBe(false);
    });

    it("without end gives other queues their turn", () => {
      const driver = ready();
      const queue = driver.queues[transmitQueue(0)]!;
      const huge = { gpa: 0, length: 2 ** 20 };
      queue.submit(Array.from({ length: 100 }, () => huge));
      let sent = 0;
      let turns = 0;
      while (queue.usedIndex === 0 && turns < 5000) {
        driver.rig.backend.run(transmitQueue(0));
        sent += driver.hosts[0]!.read().length;
        turns++;
      }
      expect(sent + driver.hosts[0]!.read().length).toBe(100 * 2 ** 20);
      expect(turns).toBeGreaterThan(100);
    });

    it("arrives whole and in order, however buffers and reads are sized (property)", () => {
      const piece = fc.nat(20_000);
      const step = fc.record({
        pieces: fc.array(piece, { minLength: 1, maxLength: 4 }),
        read: fc.nat(60_000),
      });
      fc.assert(
        fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
          const driver = ready([""]);
          const expected: Buffer[] = [];
          const seen: Buffer[] = [];
          let counter = 0;
          for (const { pieces, read } of steps) {
            const buffers = pieces.map((length) =>
              Buffer.from(Uint8Array.from({ length }, () => counter++ * 7)),
            );
            expected.push(...buffers);
            driver.output(0, buffers);
            seen.push(driver.hosts[0]!.read(read));
            driver.poll(0);
          }
          const queue = driver.queues[transmitQueue(0)]!;
          for (let turn = 0; turn < 100 && queue.usedIndex < steps.length; turn++) {
            seen.push(driver.hosts[0]!.read());
            driver.poll(0);
          }
          seen.push(driver.hosts[0]!.read());
          expect(Buffer.concat(seen).equals(Buffer.concat(expected))).toBe(true);
          expect(queue.usedIndex).toBe(steps.length);
          drivers.pop()!.close();
        }),
        { numRuns: 25 },
      );
    });
  });

  describe("input", () => {
    it("fills buffers with what there is", () => {
      const driver = ready();
      driver.giveInput(0, 100, 3);
      expect(driver.takeInput(0)).toBe("");
      driver.hosts[0]!.write("hello");
      driver.poll(0);
      expect(driver.takeInput(0)).toBe("hello");
      driver.hosts[0]!.write("x".repeat(150));
      driver.poll(0);
      expect(driver.takeInput(0)).toBe("x".repeat(150));
    });

    it("waits for buffers, and is not lost", () => {
      const driver = ready();
      driver.hosts[0]!.write("early");
      driver.poll(0);
      driver.giveInput(0, 2);
      expect(driver.takeInput(0)).toBe("ea");
      driver.giveInput(0, 2, 2);
      expect(driver.takeInput(0)).toBe("rly");
    });

    it("waits for the port to be opened, since Linux throws away what comes before", () => {
      const driver = newDriver();
      driver.bringUp();
      driver.sendControl(0xffff_ffff, DEVICE_READY, 1);
      driver.hosts[1]!.write("for the agent");
      driver.giveInput(1, 64);
      driver.sendControl(1, PORT_READY, 1);
      driver.poll(1);
      expect(driver.takeInput(1)).toBe("");
      driver.sendControl(1, PORT_OPEN, 1);
      expect(driver.takeInput(1)).toBe("for the agent");
      // Closed again: the next program that opens it gets what came meanwhile.
      driver.giveInput(1, 64);
      driver.sendControl(1, PORT_OPEN, 0);
      driver.hosts[1]!.write("second");
      driver.poll(1);
      expect(driver.takeInput(1)).toBe("");
      driver.sendControl(1, PORT_OPEN, 1);
      expect(driver.takeInput(1)).toBe("second");
    });

    it("flows without any handshake to a driver that has not taken MULTIPORT", () => {
      const driver = newDriver();
      driver.bringUp(VERSION_1, 0);
      driver.giveInput(0, 64);
      driver.hosts[0]!.write("plain");
      driver.poll(0);
      expect(driver.takeInput(0)).toBe("plain");
    });

    it("stops at the end of the pipe, without a word and without spinning", () => {
      const driver = ready();
      driver.giveInput(0, 64, 2);
      driver.hosts[0]!.write("last");
      driver.hosts[0]!.endInput();
      driver.poll(0);
      driver.poll(0);
      expect(driver.takeInput(0)).toBe("last");
      expect(driver.rig.needsReset).toBe(false);
    });

    it("skips buffers it cannot write to", () => {
      const driver = ready();
      driver.queues[receiveQueue(0)]!.submit([{ gpa: 0x1000, length: 10 }]);
      driver.hosts[0]!.write("kept");
      driver.poll(0);
      expect(driver.queues[receiveQueue(0)]!.takeUsed().map(({ length }) => length)).toEqual([0]);
      driver.giveInput(0, 10);
      expect(driver.takeInput(0)).toBe("kept");
    });

    it("in many small buffers arrives when the port is opened, all of it", () => {
      const driver = newDriver();
      driver.bringUp();
      driver.sendControl(0xffff_ffff, DEVICE_READY, 1);
      driver.sendControl(1, PORT_READY, 1);
      // One byte each: as many chains as one turn of the queue handles.
      const { size: count } = driver.queues[receiveQueue(1)]!;
      driver.hosts[1]!.write("y".repeat(count));
      driver.giveInput(1, 1, count);
      driver.sendControl(1, PORT_OPEN, 1);
      expect(driver.takeInput(1)).toBe("y".repeat(count));
    });
  });

  it("closes its ports on a reset", () => {
    const driver = ready();
    driver.rig.set(R.Status, 0);
    driver.bringUp();
    driver.giveInput(1, 64);
    driver.hosts[1]!.write("too early");
    driver.poll(1);
    expect(driver.takeInput(1)).toBe("");
  });

  describe("a turn that was too short", () => {
    it("for the input of a port that was opened is followed by another", () => {
      const driver = newDriver();
      driver.bringUp();
      driver.sendControl(0xffff_ffff, DEVICE_READY, 1);
      const { size: count } = driver.queues[receiveQueue(1)]!;
      driver.hosts[1]!.write("y".repeat(2 * count));
      driver.giveInput(1, 1, count);
      const open = Uint8Array.of(1, 0, 0, 0, PORT_OPEN, 0, 1, 0);
      driver.queues[CONTROL_TX]!.submit([driver.rig.place(open)]);
      expect(driver.rig.backend.run(CONTROL_TX)).toBe(true);
      expect(driver.takeInput(1)).toBe("y".repeat(count));
    });

    it("for the answers goes on until the driver is asked for more buffers", () => {
      const driver = newDriver();
      driver.bringUp(undefined, 0);
      const queue = driver.queues[CONTROL_RX]!;
      while (2 * driver.queues[CONTROL_TX]!.usedIndex <= queue.size)
        driver.sendControl(0xffff_ffff, DEVICE_READY, 1);
      const at = driver.rig.allocate(8);
      for (let count = 0; count < queue.size; count++) queue.submit([{ gpa: at, length: 8, writable: true }]);
      driver.sendRaw(Uint8Array.of(0, 0, 0, 0, DEVICE_READY, 0, 0, 0));
      expect(queue.usedIndex).toBe(queue.size);
      expect(queue.availEvent).toBe(queue.size);
    });
  });

  describe("a new window size", () => {
    it("is told at once, and stands in the configuration", () => {
      const driver = ready();
      driver.rig.backend.resize({ rows: 50, columns: 132 });
      expect(driver.takeControl()).toEqual([{ id: 0, event: RESIZE, value: 0, rest: size(50, 132) }]);
      expect(driver.rig.transport.read(R.Config, 4)).toBe(size(50, 132).readUInt32LE());
    });

    it("before the driver is there is told when it comes", () => {
      const driver = newDriver();
      driver.rig.backend.resize({ rows: 51, columns: 133 });
      expect(driver.rig.interrupts).toBe(0);
      const resize = driver.handshake().find(({ event }) => event === RESIZE);
      expect(resize!.rest).toEqual(size(51, 133));
    });

    it("is a change of configuration for a driver without MULTIPORT", () => {
      const driver = newDriver();
      driver.bringUp(VERSION_1 | 1n, 0);
      const generation = driver.rig.get(R.ConfigGeneration);
      driver.rig.backend.resize({ rows: 5, columns: 6 });
      expect(driver.rig.get(R.InterruptStatus)).toBe(2);
      expect(driver.rig.get(R.ConfigGeneration)).toBe(generation + 1);
      expect([driver.rig.transport.read(R.Config, 2), driver.rig.transport.read(R.Config + 2, 2)]).toEqual([
        6, 5,
      ]);
    });

    it("replaces the one that has not been taken: dragging a window floods nobody", () => {
      const driver = newDriver();
      driver.bringUp(undefined, 0);
      for (let rows = 1; rows <= 1000; rows++) driver.rig.backend.resize({ rows, columns: 80 });
      expect(driver.rig.needsReset).toBe(false);
      const at = driver.rig.allocate(24);
      for (const offset of [0, 12])
        driver.queues[CONTROL_RX]!.submit([{ gpa: at + offset, length: 12, writable: true }]);
      driver.rig.run(CONTROL_RX);
      expect(driver.queues[CONTROL_RX]!.takeUsed().length).toBe(1);
      expect(Buffer.from(driver.rig.bytes.slice(at + 8, at + 12))).toEqual(size(1000, 80));
    });

    it("does not bring down the host where the driver takes no control messages at all", () => {
      const driver = newDriver();
      driver.bringUp(undefined, 0);
      // 128 times two announcements: as many as are kept.
      for (let count = 0; count < 128; count++) driver.sendControl(0xffff_ffff, DEVICE_READY, 1);
      expect(driver.rig.needsReset).toBe(false);
      expect(() => driver.rig.backend.resize({ rows: 1, columns: 1 })).not.toThrow();
    });
  });
});
