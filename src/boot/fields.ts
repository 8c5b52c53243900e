/** Packed layouts: fields at fixed offsets, without the alignment rules that `struct` of src/ffi/struct.ts follows. */
import type { Field } from "../ffi/struct.ts";

export interface PackedField<T> {
  readonly at: number;
  readonly field: Field<T>;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a field is both reader and writer, so no supertype but any
type PackedLayout = Record<string, PackedField<any>>;

/** The content of a packed layout: `type setup_header = PackedValue<typeof setup_header>`. */
export type PackedValue<L> = { [K in keyof L]: L[K] extends PackedField<infer T> ? T : never };

/** `field` at byte `at`. */
export function at<T>(offset: number, field: Field<T>): PackedField<T> {
  return { at: offset, field };
}

/** Reads all fields. Those that `bytes` does not reach read as their value over zero bytes. */
export function readPacked<L extends PackedLayout>(layout: L, bytes: Uint8Array): PackedValue<L> {
  const end = Math.max(...Object.values(layout).map((entry) => entry.at + entry.field.size));
  const padded = new Uint8Array(end);
  padded.set(bytes.subarray(0, end));
  const view = new DataView(padded.buffer);
  const content: Record<string, unknown> = {};
  for (const [name, entry] of Object.entries(layout)) content[name] = entry.field.get(view, entry.at);
  return content as PackedValue<L>;
}

/** Sets the fields that `values` names and leaves the rest of `bytes` alone. */
export function writePacked<L extends PackedLayout>(
  layout: L,
  bytes: Uint8Array,
  values: Partial<PackedValue<L>>,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const [name, value] of Object.entries(values)) {
    const entry = layout[name]!;
    entry.field.set(view, entry.at, value);
  }
}
