import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { suite } from "../../test/support/needs.ts";
import * as ours from "./io-uring.ts";
import { io_cqring_offsets, io_sqring_offsets, io_uring_params, IoUring } from "./io-uring.ts";
import { allocateNative } from "./native-buffer.ts";
import { IO_URING } from "./testing/io-uring.ts";
import { canCompile, evaluateC } from "./testing/c-compiler.ts";

const EBADF = 9;
const directory = mkdtempSync(join(tmpdir(), "tsvm-uring-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

it.skipIf(!canCompile(["linux/io_uring.h"]))(
  "the numbers are those of linux/io_uring.h (needs gcc, libc6-dev)",
  () => {
    const constants = ["OP_READV", "OP_WRITEV", "OP_FSYNC", "OP_READ", "OP_WRITE", "FSYNC_DATASYNC"].map(
      (name) => `IORING_${name}` as keyof typeof ours,
    );
    const structs = [io_sqring_offsets, io_cqring_offsets, io_uring_params];
    const offsets = structs.flatMap((one) =>
      Object.entries(one.offset)
        // Newer kernels call the last field of both otherwise.
        .filter(([field]) => !["resv1", "resv2", "user_addr"].includes(field))
        .map(([field, offset]) => [`offsetof(struct ${one.name}, ${field})`, offset as number] as const),
    );
    const expected = Object.fromEntries([
      ...constants.map((name) => [name, ours[name] as unknown as number]),
      ...structs.map((one) => [`sizeof(struct ${one.name})`, one.size]),
      ...offsets,
    ]) as Record<string, number>;
    const expressions = Object.fromEntries(Object.keys(expected).map((key) => [key, key]));
    expect(evaluateC(["stddef.h", "linux/io_uring.h"], expressions)).toEqual(expected);
  },
);

suite("IoUring", [IO_URING], () => {
  const path = join(directory, "file");
  const content = Buffer.from(Uint8Array.from({ length: 64 * 1024 }, (_, at) => (at * 13) ^ (at >> 8)));

  const run = (ring: IoUring): Map<number, number> => {
    const results = new Map<number, number>();
    while (ring.pending > 0) {
      ring.submit();
      ring.wait();
      ring.reap((token, result) => results.set(token, result));
    }
    return results;
  };

  it("moves bytes both ways, many requests at a time, more than it has room for", () => {
    writeFileSync(path, content);
    const fd = openSync(path, "r+");
    const ring = new IoUring(8);
    const memory = allocateNative(64 * 1024);
    try {
      for (let at = 0; at < 64; at++) {
        ring.push(ours.IORING_OP_READ, fd, memory.address + at * 1024, 1024, at * 1024, at);
        // Room for results is bounded: whoever pushes more takes some away first.
        if (at % 8 === 7) run(ring);
      }
      expect(Buffer.from(memory.buffer).equals(content)).toBe(true);
      const reversed = Buffer.from(content).reverse();
      Buffer.from(memory.buffer).set(reversed);
      for (let at = 0; at < 8; at++)
        ring.push(ours.IORING_OP_WRITE, fd, memory.address + at * 8192, 8192, at * 8192, 0xffff_fff0 + at);
      const results = run(ring);
      expect([...results.keys()].sort()).toEqual(
        Array.from({ length: 8 }, (_, at) => 0xffff_fff0 + at).sort(),
      );
      expect([...results.values()]).toEqual(new Array<number>(8).fill(8192));
      ring.push(ours.IORING_OP_FSYNC, fd, 0, 0, 0, 1, ours.IORING_FSYNC_DATASYNC);
      expect(run(ring)).toEqual(new Map([[1, 0]]));
      expect(readFileSync(path).equals(reversed)).toBe(true);
    } finally {
      ring.close();
      closeSync(fd);
    }
  });

  it("says what failed, of each request by itself", () => {
    writeFileSync(path, content.subarray(0, 1000));
    const fd = openSync(path, "r");
    const ring = new IoUring(8);
    const memory = allocateNative(4096);
    try {
      ring.push(ours.IORING_OP_READ, 12345, memory.address, 100, 0, 1);
      ring.push(ours.IORING_OP_READ, fd, memory.address, 4096, 500, 2);
      ring.push(ours.IORING_OP_READ, fd, memory.address, 100, 5000, 3);
      ring.push(ours.IORING_OP_WRITE, fd, memory.address, 100, 0, 4);
      expect(run(ring)).toEqual(
        new Map([
          [1, -EBADF],
          [2, 500],
          [3, 0],
          [4, -EBADF],
        ]),
      );
    } finally {
      ring.close();
      closeSync(fd);
    }
  });

  it("reaches offsets beyond 4 GiB", () => {
    const fd = openSync(join(directory, "sparse"), "w+");
    const ring = new IoUring(2);
    const memory = allocateNative(4096);
    const offset = 5 * 2 ** 32 + 4096;
    try {
      new Uint8Array(memory.buffer).fill(0x5a, 0, 512);
      ring.push(ours.IORING_OP_WRITE, fd, memory.address, 512, offset, 1);
      run(ring);
      ring.push(ours.IORING_OP_READ, fd, memory.address + 512, 512, offset, 2);
      expect(run(ring)).toEqual(new Map([[2, 512]]));
      expect(new Uint8Array(memory.buffer).subarray(512, 1024).every((byte) => byte === 0x5a)).toBe(true);
    } finally {
      ring.close();
      closeSync(fd);
    }
  });
});
