import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { array, bytes, struct, u16, u32, u64, u8, type Field, type Struct } from "./struct.ts";
import { canCompile, evaluateC } from "./testing/c-compiler.ts";

describe("struct", () => {
  it("puts padding where the C compiler does", () => {
    const inner = struct("inner", { a: u8, b: u32, c: u8 });
    const outer = struct("outer", {
      a: u8,
      b: inner,
      c: u16,
      d: u64,
      e: bytes(3),
      f: array(inner, 2),
      g: u8,
    });
    expect(inner.size).toBe(12);
    expect(inner.align).toBe(4);
    expect(inner.offset).toEqual({ a: 0, b: 4, c: 8 });
    expect(outer.offset).toEqual({ a: 0, b: 4, c: 16, d: 24, e: 32, f: 36, g: 60 });
    expect(outer.size).toBe(64);
    expect(outer.align).toBe(8);
  });

  it("of no fields has no size", () => {
    expect(struct("empty", {}).size).toBe(0);
  });

  it("leaves what is not given zero, little-endian, at its offset", () => {
    const s = struct("s", { a: u16, b: u32, c: u64 });
    expect([...s.pack({ b: 0x0102_0304 })]).toEqual([0, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(s.pack()).toEqual(new Uint8Array(16));
  });

  it("reads at an offset of a view that itself starts somewhere in its buffer", () => {
    const s = struct("s", { a: u8, b: u16 });
    const buffer = new Uint8Array(32);
    buffer.set(s.pack({ a: 7, b: 0x1234 }), 12);
    expect(s.unpack(buffer.subarray(8), 4)).toEqual({ a: 7, b: 0x1234 });
  });

  it("gives copies of byte fields, not views", () => {
    const s = struct("s", { a: bytes(2) });
    const packed = s.pack({ a: new Uint8Array([1, 2]) });
    const { a } = s.unpack(packed);
    packed[0] = 9;
    expect([...a]).toEqual([1, 2]);
  });

  it("refuses content that is too long, and buffers that are too short", () => {
    const s = struct("s", { a: bytes(2), b: array(u8, 2) });
    expect(() => s.pack({ a: new Uint8Array(3) })).toThrow("3 bytes do not fit into 2");
    expect(() => s.pack({ b: [1, 2, 3] })).toThrow("3 elements do not fit into 2");
    expect(() => s.unpack(new Uint8Array(3))).toThrow(RangeError);
  });

  interface Shape {
    readonly field: Field<unknown>;
    readonly value: unknown;
    /** Declares `name` in C. */
    readonly c: (name: string) => string;
  }
  const scalar = fc.oneof(
    fc.nat(0xff).map((value): Shape => ({ field: u8, value, c: (name) => `uint8_t ${name}` })),
    fc.nat(0xffff).map((value): Shape => ({ field: u16, value, c: (name) => `uint16_t ${name}` })),
    fc.nat(0xffff_ffff).map((value): Shape => ({ field: u32, value, c: (name) => `uint32_t ${name}` })),
    fc
      .bigInt({ min: 0n, max: 2n ** 64n - 1n })
      .map((value): Shape => ({ field: u64, value, c: (name) => `uint64_t ${name}` })),
    fc.uint8Array({ minLength: 1, maxLength: 9 }).map((value): Shape => ({
      field: bytes(value.length),
      value,
      c: (name) => `uint8_t ${name}[${value.length}]`,
    })),
    fc.array(fc.nat(0xffff_ffff), { minLength: 1, maxLength: 4 }).map((value): Shape => ({
      field: array(u32, value.length),
      value,
      c: (name) => `uint32_t ${name}[${value.length}]`,
    })),
  );
  const members = (shape: fc.Arbitrary<Shape>): fc.Arbitrary<Shape[]> =>
    fc.array(shape, { minLength: 1, maxLength: 6 });
  const assemble = (
    parts: Shape[],
  ): { type: Struct<Record<string, unknown>>; value: Record<string, unknown> } => ({
    type: struct("random", Object.fromEntries(parts.map(({ field }, index) => [`f${index}`, field]))),
    value: Object.fromEntries(parts.map(({ value }, index) => [`f${index}`, value])),
  });
  const nested = members(scalar).map((parts): Shape => {
    const { type, value } = assemble(parts);
    const body = parts.map(({ c }, index) => `${c(`f${index}`)};`).join(" ");
    return { field: type, value, c: (name) => `struct { ${body} } ${name}` };
  });
  const anyStruct = members(fc.oneof({ weight: 3, arbitrary: scalar }, { weight: 1, arbitrary: nested }));

  it("gives back what was packed, whatever the fields (property)", () => {
    fc.assert(
      fc.property(anyStruct, (parts) => {
        const { type, value } = assemble(parts);
        const packed = type.pack(value);
        expect(packed.length).toBe(type.size);
        expect(type.unpack(packed)).toEqual(value);
      }),
    );
  });

  it("keeps every field aligned, in order, apart from the others, and inside (property)", () => {
    fc.assert(
      fc.property(anyStruct, (parts) => {
        const { type } = assemble(parts);
        let end = 0;
        for (const [index, { field }] of parts.entries()) {
          const at = type.offset[`f${index}`]!;
          expect(at % field.align).toBe(0);
          expect(at).toBeGreaterThanOrEqual(end);
          expect(at - end).toBeLessThan(field.align);
          end = at + field.size;
        }
        expect(type.size % type.align).toBe(0);
        expect(type.size - end).toBeLessThan(type.align);
        expect(type.size).toBeGreaterThanOrEqual(end);
      }),
    );
  });

  it.skipIf(!canCompile(["stdint.h"]))("lays random structs out as the C compiler does (needs gcc)", () => {
    const samples = fc.sample(anyStruct, { numRuns: 40, seed: 1 });
    const expressions: Record<string, string> = {};
    const ours: Record<string, number> = {};
    for (const [at, parts] of samples.entries()) {
      const { type } = assemble(parts);
      const body = parts.map(({ c }, index) => `${c(`f${index}`)};`).join(" ");
      const declaration = `__extension__ ({ struct s { ${body} }; `;
      expressions[`${at}`] = `${declaration} sizeof(struct s); })`;
      ours[`${at}`] = type.size;
      for (const index of parts.keys()) {
        expressions[`${at}.${index}`] = `${declaration} offsetof(struct s, f${index}); })`;
        ours[`${at}.${index}`] = type.offset[`f${index}`]!;
      }
    }
    expect(evaluateC(["stdint.h"], expressions)).toEqual(ours);
  });
});
