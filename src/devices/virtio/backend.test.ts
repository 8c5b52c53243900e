import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IoVector } from "../../ffi/iovec.ts";
import { byteAddress, gather } from "./backend.ts";
import { DescriptorChain } from "./queue.ts";

/** A chain whose buffers lie one after the other at host address `gpa + HOST`, a byte apart. */
const HOST = 2 ** 40;
const chainOf = (
  readable: readonly number[],
  writable: readonly number[],
): { chain: DescriptorChain; at: number[][] } => {
  const chain = new DescriptorChain(readable.length + writable.length);
  let gpa = 1000;
  const at: number[][] = [[], []];
  for (const [part, lengths] of [readable, writable].entries()) {
    for (const length of lengths) {
      chain.gpa[chain.count] = gpa;
      chain.host[chain.count] = gpa + HOST;
      chain.length[chain.count++] = length;
      for (let byte = 0; byte < length; byte++) at[part]!.push(gpa + byte);
      gpa += length + 1;
    }
  }
  chain.readable = readable.length;
  return { chain, at };
};
const lengths = fc.array(fc.nat(20), { maxLength: 6 });
const part = fc.constantFrom("readable" as const, "writable" as const);

/** Notes what it is given instead of writing it down. */
class NotedVector extends IoVector {
  readonly ranges: [number, number][] = [];
  override add(base: number, length: number): boolean {
    this.ranges.push([base, length]);
    return super.add(base, length);
  }
}

describe("gather", () => {
  it("picks exactly the bytes that were asked for, in order (property)", () => {
    fc.assert(
      fc.property(
        lengths,
        lengths,
        part,
        fc.nat(130),
        fc.nat(130),
        (readable, writable, which, skip, take) => {
          const { chain, at } = chainOf(readable, writable);
          const vector = new NotedVector();
          gather(vector, chain, which, skip, take);
          const picked = vector.ranges.flatMap(([base, length]) =>
            Array.from({ length }, (_, byte) => base - HOST + byte),
          );
          const all = at[which === "readable" ? 0 : 1]!;
          expect(picked).toEqual(all.slice(skip, skip + take));
          expect(vector.bytes).toBe(picked.length);
        },
      ),
    );
  });

  it("stops where the vector is full", () => {
    const { chain } = chainOf(
      Array.from({ length: IoVector.MAX + 5 }, () => 1),
      [],
    );
    const vector = new IoVector();
    gather(vector, chain, "readable", 0, 2000);
    expect(vector.bytes).toBe(IoVector.MAX);
    expect(vector.count).toBe(IoVector.MAX);
  });
});

describe("byteAddress", () => {
  it("finds every byte, and none beyond the end (property)", () => {
    fc.assert(
      fc.property(lengths, lengths, part, (readable, writable, which) => {
        const { chain, at } = chainOf(readable, writable);
        const all = at[which === "readable" ? 0 : 1]!;
        for (let offset = 0; offset < all.length + 3; offset++) {
          expect(byteAddress(chain, which, offset)).toBe(all[offset] ?? -1);
        }
      }),
    );
  });
});
