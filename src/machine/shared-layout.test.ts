import fc from "fast-check";
import { expect, it } from "vitest";
import { SharedLayout } from "./shared-layout.ts";

it("gives ranges that do not overlap, aligned for any typed array and within the buffer", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }), (sizes) => {
      const layout = new SharedLayout();
      const ranges = sizes.map((size) => layout.add(size));
      const total = layout.allocate().byteLength;
      let end = 0;
      for (const [index, { offset, bytes }] of ranges.entries()) {
        expect(bytes).toBe(sizes[index]);
        expect(offset % 64).toBe(0);
        expect(offset).toBeGreaterThanOrEqual(end);
        end = offset + bytes;
      }
      expect(end).toBeLessThanOrEqual(total);
    }),
  );
});
