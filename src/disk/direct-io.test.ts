import fc from "fast-check";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { F_GETFL, MFD_CLOEXEC } from "../ffi/constants.ts";
import { IoVector } from "../ffi/iovec.ts";
import { check, fcntl, memfd_create } from "../ffi/libc.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
import { BounceIo, enableDirectIo } from "./direct-io.ts";
import { ImageFile } from "./image-file.ts";

const directory = mkdtempSync(join(tmpdir(), "tsvm-direct-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});
const path = join(directory, "file");
const SIZE = 700_000;
const content = Buffer.from(Uint8Array.from({ length: SIZE }, (_, at) => (at * 7) ^ (at >> 9)));

const supported = ((): boolean => {
  const fd = openSync(path, "w+");
  try {
    return enableDirectIo(fd) > 0;
  } finally {
    closeSync(fd);
  }
})();

describe.skipIf(!supported)("direct I/O (needs a file system with O_DIRECT in TMPDIR)", () => {
  const arena = allocateNative(2 * SIZE);
  const memory = Buffer.from(arena.buffer);
  let fd = -1;
  let block = 0;
  beforeEach(() => {
    writeFileSync(path, content);
    fd = openSync(path, "r+");
    block = enableDirectIo(fd);
    return () => closeSync(fd);
  });

  it("is on afterwards, and not where it cannot be", () => {
    expect(fcntl(fd, F_GETFL, 0) & constants.O_DIRECT).toBe(constants.O_DIRECT);
    expect([512, 4096]).toContain(block);
    const pipe = openSync("/dev/null", "r");
    expect(enableDirectIo(pipe)).toBe(0);
    expect(fcntl(pipe, F_GETFL, 0) & constants.O_DIRECT).toBe(0);
    closeSync(pipe);
  });

  const operation = fc.record({
    write: fc.boolean(),
    offset: fc.nat(SIZE + 5000),
    lengths: fc.array(fc.oneof(fc.nat(5000), fc.nat(300_000)), { minLength: 1, maxLength: 5 }),
    skew: fc.nat(4095),
  });

  it("moves any bytes from and to anywhere (property)", () => {
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 8 }),
        fc.constantFrom(block, 4096),
        (operations, width) => {
          writeFileSync(path, content);
          const bounce = new BounceIo(fd, width);
          const vector = new IoVector();
          // The file, and behind its end zeros.
          const model = Buffer.alloc(4 * SIZE);
          content.copy(model);
          let end = SIZE;
          for (const { write, offset, lengths, skew } of operations) {
            vector.clear();
            let at = skew;
            for (const length of lengths) {
              if (at + length > arena.buffer.byteLength) break;
              vector.add(arena.address + at, length);
              at += length;
            }
            const { bytes } = vector;
            if (write) {
              for (let index = 0; index < bytes; index++) memory[skew + index] = index * 3 + offset;
              expect(bounce.writev(vector, offset)).toBe(0);
              memory.copy(model, offset, skew, skew + bytes);
              if (bytes > 0) end = Math.max(end, Math.ceil((offset + bytes) / width) * width);
            } else {
              const there = Math.max(0, Math.min(bytes, end - offset));
              expect(bounce.readv(vector, offset)).toBe(there);
              expect(memory.subarray(skew, skew + there).equals(model.subarray(offset, offset + there))).toBe(
                true,
              );
              expect(vector.bytes).toBe(bytes - there);
            }
          }
          const seen = readFileSync(path);
          expect(seen.length).toBe(end);
          expect(seen.equals(model.subarray(0, end))).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("serves images: aligned or not, and up to the end of the file", () => {
    const file = new ImageFile({ path, fd, size: SIZE, growable: true, directBlock: block });
    const vector = new IoVector();
    vector.add(arena.address, 8192);
    expect(file.aligned(vector, 4096)).toBe(true);
    expect(file.aligned(vector, 4097)).toBe(false);
    file.readv(vector, 4096);
    expect(memory.subarray(0, 8192).equals(content.subarray(4096, 12288))).toBe(true);
    vector.clear();
    vector.add(arena.address + 1, 1000);
    expect(file.aligned(vector, 4096)).toBe(false);
    file.readv(vector, SIZE - 300);
    expect(memory.subarray(1, 301).equals(content.subarray(SIZE - 300))).toBe(true);
    expect(memory.subarray(301, 1001).every((byte) => byte === 0)).toBe(true);
    // Eight bytes of a table, as qcow2 writes them.
    memory.write("tablerow", 77);
    file.write(arena.address + 77, 8, 12345);
    expect(readFileSync(path).subarray(12340, 12360).toString("latin1")).toContain("tablerow");
  });
});

it("a file system without it is told by name", () => {
  const memfd = check(memfd_create("x", MFD_CLOEXEC), "memfd_create");
  // tmpfs has it from Linux 6.6 on: both answers are right, but only with the flag set accordingly.
  const block = enableDirectIo(memfd);
  expect((fcntl(memfd, F_GETFL, 0) & constants.O_DIRECT) !== 0).toBe(block > 0);
  closeSync(memfd);
});
