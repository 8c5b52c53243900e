import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeRun,
  encodeSignal,
  encodeStdin,
  FrameReader,
  GuestProtocolError,
  type RunRequest,
} from "./guest-init.ts";

function frame(type: string, payload: Uint8Array, length = payload.length): Buffer {
  const head = Buffer.alloc(8);
  head.write(type, "latin1");
  head.writeUInt32LE(length, 4);
  return Buffer.concat([head, payload]);
}

function words(...values: number[]): Buffer {
  return Buffer.from(Uint32Array.from(values).buffer);
}

/** What a reader reports of a stream, cut into pieces at `cuts`. */
function read(stream: Buffer, cuts: number[] = []): string[] {
  const seen: string[] = [];
  const reader = new FrameReader({
    hello: () => seen.push("hello"),
    stdout: (bytes) => seen.push(`stdout ${bytes.toString()}`),
    stderr: (bytes) => seen.push(`stderr ${bytes.toString()}`),
    exit: (exit) => seen.push(`exit ${JSON.stringify(exit)}`),
    agent: (errno) => seen.push(`agent ${errno}`),
  });
  const ends = [...cuts.map((cut) => cut % (stream.length + 1)), stream.length].sort((a, b) => a - b);
  let at = 0;
  for (const end of ends) {
    reader.push(stream.subarray(at, end));
    at = end;
  }
  return seen;
}

const SESSION = Buffer.concat([
  frame("H", words(1)),
  frame("O", Buffer.from("out")),
  frame("E", Buffer.from("err")),
  frame("O", Buffer.alloc(0)),
  frame("A", words(0)),
  frame("X", words(0, 7)),
]);

describe("FrameReader", () => {
  it("finds the same frames wherever the stream is cut", () => {
    const whole = read(SESSION);
    expect(whole).toEqual([
      "hello",
      "stdout out",
      "stderr err",
      "stdout ",
      "agent 0",
      'exit {"kind":"exited","status":7}',
    ]);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 8 }), (cuts) => {
        expect(read(SESSION, cuts)).toEqual(whole);
      }),
    );
  });

  it("tells the three ends of a command apart", () => {
    expect(read(frame("X", words(1, 9)))).toEqual(['exit {"kind":"signaled","signal":9}']);
    const missing = Buffer.concat([words(2, 2), Buffer.from("nosuch: no such file")]);
    expect(read(frame("X", missing))).toEqual([
      'exit {"kind":"not-started","errno":2,"message":"nosuch: no such file"}',
    ]);
  });

  it.each([
    ["an unknown type", frame("?", Buffer.alloc(0))],
    ["a frame beyond 1 MiB", frame("O", Buffer.alloc(0), 0x10_0001)],
    ["another version", frame("H", words(2))],
    ["a hello without version", frame("H", Buffer.alloc(0))],
    ["a short exit", frame("X", words(0))],
    ["an unknown kind of exit", frame("X", words(3, 0))],
    ["a short answer about the agent", frame("A", Buffer.alloc(3))],
  ])("refuses %s", (_name, stream) => {
    expect(() => read(stream)).toThrow(GuestProtocolError);
  });

  it("answers any bytes with frames or a GuestProtocolError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          read(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(GuestProtocolError);
        }
      }),
    );
  });
});

describe("frames to the guest", () => {
  const request = {
    argv: ["sh", "-c", "exit 7"],
    env: { TERM: "xterm" },
    cwd: "/tmp",
    terminal: true,
    shell: false,
    wait: false,
    agent: undefined,
    root: "/dev/vda",
    rootReadOnly: true,
    rootFsType: "ext4",
    hostname: "box",
  } as const satisfies RunRequest;

  it("lays a run request out as docs/guest.md says", () => {
    const bytes = Buffer.from(encodeRun(request));
    expect(bytes.toString("latin1", 0, 1)).toBe("R");
    expect(bytes.readUInt32LE(4)).toBe(bytes.length - 8);
    expect(bytes.readUInt32LE(8)).toBe(0b0011); // terminal, read-only
    expect(bytes.readUInt32LE(12)).toBe(3);
    expect(bytes.toString("latin1", 16)).toBe(
      "sh\0-c\0exit 7\0\x01\0\0\0TERM=xterm\0/tmp\0/dev/vda\0ext4\0box\0",
    );
  });

  it("says so when there is no disk, and when a shell is wanted", () => {
    const bytes = Buffer.from(
      encodeRun({ ...request, terminal: false, rootReadOnly: false, root: "", shell: true }),
    );
    expect(bytes.readUInt32LE(8)).toBe(0b1100);
  });

  it("says whether the agent is wanted, and whether that is all", () => {
    expect(Buffer.from(encodeRun({ ...request, agent: "now", wait: true })).readUInt32LE(8)).toBe(0b101_0011);
    expect(Buffer.from(encodeRun({ ...request, agent: "later" })).readUInt32LE(8)).toBe(0b010_0011);
  });

  it("refuses a command longer than the guest takes", () => {
    expect(() => encodeRun({ ...request, argv: ["x".repeat(2 ** 20)] })).toThrow("longer than 1 MiB");
  });

  it("frames input and signals", () => {
    expect(Buffer.from(encodeStdin(Buffer.from("abc"))).toString("latin1")).toBe("I\0\0\0\x03\0\0\0abc");
    expect(Buffer.from(encodeSignal(15)).toString("latin1")).toBe("S\0\0\0\x04\0\0\0\x0f\0\0\0");
  });
});
