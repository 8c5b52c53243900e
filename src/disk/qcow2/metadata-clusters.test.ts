import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MetadataClusters } from "./metadata-clusters.ts";

describe("MetadataClusters", () => {
  it("is a set of numbers (property)", () => {
    const number = fc.nat(60);
    const change = fc.tuple(fc.boolean(), number);
    fc.assert(
      fc.property(
        fc.uniqueArray(number),
        fc.array(change),
        number,
        fc.nat(8),
        (start, changes, first, count) => {
          const clusters = new MetadataClusters(Float64Array.from(start));
          const model = new Set(start);
          for (const [add, cluster] of changes) {
            if (add === model.has(cluster)) continue; // never added twice, never removed without being there
            if (add) {
              clusters.add(cluster);
              model.add(cluster);
            } else {
              clusters.remove(cluster);
              model.delete(cluster);
            }
          }
          const expected = Array.from({ length: count }, (_, index) => first + index).some((one) =>
            model.has(one),
          );
          expect(clusters.overlaps(first, count)).toBe(expected);
        },
      ),
    );
  });

  it("finds what is there twice", () => {
    expect(new MetadataClusters(Float64Array.of(9, 3, 2 ** 40, 1)).duplicate).toBeUndefined();
    expect(new MetadataClusters(Float64Array.of(9, 2 ** 40, 1, 2 ** 40)).duplicate).toBe(2 ** 40);
  });
});
