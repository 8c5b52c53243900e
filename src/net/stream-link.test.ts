import { afterEach, describe, expect, it } from "vitest";
import { readSync, writeSync } from "node:fs";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "../ffi/constants.ts";
import { IoVector } from "../ffi/iovec.ts";
import { check, close, socketpair } from "../ffi/libc.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
import { BUSY, GONE, LOST, NOTHING, SENT, VNET_HEADER_BYTES } from "./link.ts";
import { LARGEST_FRAME, StreamLink } from "./stream-link.ts";

const open = new Set<number>();
afterEach(() => {
  for (const fd of open) close(fd);
  open.clear();
});

function pair(): { link: StreamLink; peer: number } {
  const fds = new Int32Array(2);
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), "socketpair");
  const [ours, peer] = [fds[0]!, fds[1]!];
  open.add(ours).add(peer);
  return { link: new StreamLink(ours), peer };
}

/** Buffers of these sizes, and what stands in them. */
function buffers(...sizes: number[]): { vector: IoVector; bytes: () => Buffer } {
  const vector = new IoVector();
  const parts = sizes.map((size) => allocateNative(size));
  for (const [index, { address }] of parts.entries()) vector.add(address, sizes[index]!);
  return {
    vector,
    bytes: () => Buffer.concat(parts.map(({ buffer }, index) => Buffer.from(buffer, 0, sizes[index]))),
  };
}

function content(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => (index * 13) & 0xff));
}

function prefixed(bytes: Buffer): Buffer {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(bytes.length);
  return Buffer.concat([prefix, bytes]);
}

function readAll(fd: number): Buffer {
  const all: Buffer[] = [];
  const chunk = Buffer.alloc(1 << 20);
  try {
    for (let got = readSync(fd, chunk); got > 0; got = readSync(fd, chunk))
      all.push(Buffer.from(chunk.subarray(0, got)));
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe("EAGAIN");
  }
  return Buffer.concat(all);
}

function vectorOf(frame: Buffer): IoVector {
  const { address, buffer } = allocateNative(VNET_HEADER_BYTES + frame.length);
  Buffer.from(buffer).set(frame, VNET_HEADER_BYTES);
  const vector = new IoVector();
  vector.add(address, VNET_HEADER_BYTES + frame.length);
  kept.push(buffer);
  return vector;
}
/** The address is good for only as long as the buffer lives. */
const kept: ArrayBuffer[] = [];

describe("StreamLink", () => {
  it("sends a frame after its length, without the virtio header", () => {
    const { link, peer } = pair();
    expect(link.send(vectorOf(content(60)))).toBe(SENT);
    expect(readAll(peer)).toEqual(prefixed(content(60)));
  });

  it("receives frames that come in pieces and in lumps, behind a header of zeros", () => {
    const { link, peer } = pair();
    const { vector, bytes } = buffers(7, 30, 200);
    const stream = Buffer.concat([prefixed(content(60)), prefixed(content(100)), prefixed(content(14))]);
    const seen: Buffer[] = [];
    for (const byte of stream) {
      writeSync(peer, Buffer.of(byte));
      const got = link.receive(vector, vector.count);
      if (got !== NOTHING) seen.push(Buffer.from(bytes().subarray(0, got)));
    }
    writeSync(peer, stream);
    for (let got = link.receive(vector, 3); got !== NOTHING; got = link.receive(vector, 3))
      seen.push(Buffer.from(bytes().subarray(0, got)));
    const wanted = [60, 100, 14].map((length) =>
      Buffer.concat([Buffer.alloc(VNET_HEADER_BYTES), content(length)]),
    );
    expect(seen).toEqual([...wanted, ...wanted]);
  });

  it("tells the guest that checksums are right, if it asked", () => {
    const { link, peer } = pair();
    link.configure((bit) => bit === 1);
    const { vector, bytes } = buffers(200);
    writeSync(peer, prefixed(content(60)));
    expect(link.receive(vector, 1)).toBe(72);
    expect(bytes()[0]).toBe(2);
  });

  it("cuts a frame that is too long for the buffers", () => {
    const { link, peer } = pair();
    const { vector } = buffers(20);
    writeSync(peer, Buffer.concat([prefixed(content(60)), prefixed(content(8))]));
    expect(link.receive(vector, 1)).toBe(20);
    expect(link.receive(vector, 1)).toBe(20);
    expect(link.receive(vector, 1)).toBe(NOTHING);
  });

  it("a frame that the socket takes in part goes out whole, before the next", () => {
    const { link, peer } = pair();
    const frame = content(60_000);
    let sent = 0;
    while (link.send(vectorOf(frame)) === SENT) sent++;
    expect(sent).toBeGreaterThan(1);
    let received = Buffer.alloc(0);
    for (let empty = 0; empty < 2;) {
      const part = readAll(peer);
      empty = part.length === 0 ? empty + 1 : 0;
      received = Buffer.concat([received, part]);
      link.flush();
    }
    expect(received.equals(Buffer.concat(Array.from({ length: sent }, () => prefixed(frame))))).toBe(true);
    expect(link.send(vectorOf(frame))).toBe(SENT);
  });

  it("carries the largest frames one after the other, and takes nothing longer for a frame", () => {
    const { link, peer } = pair();
    const { vector } = buffers(VNET_HEADER_BYTES + LARGEST_FRAME);
    const largest = prefixed(content(LARGEST_FRAME));
    for (let count = 0; count < 20; count++) {
      writeSync(peer, largest);
      expect(link.receive(vector, 1)).toBe(VNET_HEADER_BYTES + LARGEST_FRAME);
    }
    writeSync(peer, Buffer.from([0, 1, 0, 0]));
    expect(link.receive(vector, 1)).toBe(GONE);
    expect(link.receive(vector, 1)).toBe(GONE);
    expect(link.send(vectorOf(content(60)))).toBe(LOST);
  });

  it("says so when the other side is gone", () => {
    const { link, peer } = pair();
    const { vector } = buffers(200);
    close(peer);
    open.delete(peer);
    expect(link.receive(vector, 1)).toBe(GONE);
    const other = pair();
    close(other.peer);
    open.delete(other.peer);
    expect(other.link.send(vectorOf(content(60)))).toBe(LOST);
    expect(BUSY).not.toBe(LOST);
  });
});
