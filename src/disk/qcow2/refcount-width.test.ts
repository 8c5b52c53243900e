import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { refcountWidth } from "./refcount-width.ts";

describe.each([0, 1, 2, 3, 4, 5, 6])("reference counts of 2^%i bits", (order) => {
  const width = refcountWidth(order);

  it("are an array of numbers (property)", () => {
    const change = fc.tuple(fc.nat(127), fc.maxSafeNat());
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
        const view = new DataView(new ArrayBuffer(8 + 128 * 8));
        const model = new Array<number>(128).fill(0);
        for (const [index, value] of changes) {
          const count = Math.min(value, width.most);
          width.set(view, 8, index, count);
          model[index] = count;
        }
        expect(model.map((_, index) => width.get(view, 8, index))).toEqual(model);
        expect(view.getUint32(0)).toBe(0);
      }),
    );
  });
});

describe("refcountWidth", () => {
  it("fills bytes from their least significant bit, and is big-endian", () => {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    refcountWidth(0).set(view, 0, 1, 1);
    refcountWidth(1).set(view, 0, 5, 3); // byte 1, bits 2 and 3
    refcountWidth(2).set(view, 0, 5, 9); // byte 2, bits 4 to 7
    refcountWidth(4).set(view, 0, 2, 0x1234);
    refcountWidth(6).set(view, 0, 1, 2 ** 40 + 5);
    expect([...bytes]).toEqual([2, 12, 0x90, 0, 0x12, 0x34, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5]);
  });

  it("knows no others", () => {
    expect(() => refcountWidth(7)).toThrow(RangeError);
  });
});
