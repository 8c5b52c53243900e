import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFrame, FrameSplitter, LARGEST_PAYLOAD, type Frame } from "./frames.ts";

function split(pieces: readonly Buffer[]): Frame[] {
  const splitter = new FrameSplitter();
  const frames: Frame[] = [];
  for (const piece of pieces) {
    splitter.push(piece);
    for (let frame = splitter.next(); frame !== undefined; frame = splitter.next()) {
      if ("tooLong" in frame) throw new Error("too long");
      frames.push(frame);
    }
  }
  return frames;
}

test("frames are found however the stream is cut", () => {
  const frames = fc.array(fc.tuple(fc.integer({ min: 1, max: 255 }), fc.uint8Array({ maxLength: 300 })));
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 0, max: 40 })), (given, cuts) => {
      const stream = Buffer.concat(given.map(([type, payload]) => encodeFrame(type, payload)));
      const pieces: Buffer[] = [];
      let at = 0;
      for (const cut of cuts) {
        pieces.push(stream.subarray(at, at + cut));
        at += cut;
      }
      pieces.push(stream.subarray(at));
      const found = split(pieces);
      expect(found.map(({ type, payload }) => [type, [...payload]])).toEqual(
        given.map(([type, payload]) => [type, [...payload]]),
      );
    }),
  );
});

test("a frame that is too long is told from its header", () => {
  const splitter = new FrameSplitter();
  const header = Buffer.alloc(8);
  header.writeUInt32LE(LARGEST_PAYLOAD + 1, 4);
  splitter.push(header);
  expect(splitter.next()).toEqual({ tooLong: LARGEST_PAYLOAD + 1 });
});

test("a large frame that comes byte by byte is joined once", () => {
  const frame = encodeFrame(1, Buffer.alloc(200_000, 5));
  const start = performance.now();
  const [found] = split(Array.from(frame, (_, at) => frame.subarray(at, at + 1)));
  expect(found!.payload.equals(Buffer.alloc(200_000, 5))).toBe(true);
  // Joined for each byte it would take some 20 s.
  expect(performance.now() - start).toBeLessThan(5000);
});
