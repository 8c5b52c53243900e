/**
 * C struct layouts, declared once as a value; the type of a struct's content is derived from the declaration.
 *
 * @example
 * const timespec = struct("timespec", { tv_sec: u64, tv_nsec: u64 });
 * timespec.size;                       // 16
 * timespec.offset.tv_nsec;             // 8
 * timespec.pack({ tv_nsec: 5n });      // Uint8Array(16); what is left out is zero
 */

/** How one field is read and written; `align` is its natural alignment in bytes. */
export interface Field<T> {
  readonly size: number;
  readonly align: number;
  get(view: DataView, offset: number): T;
  set(view: DataView, offset: number, value: T): void;
}

export const u8: Field<number> = {
  size: 1,
  align: 1,
  get: (view, offset) => view.getUint8(offset),
  set: (view, offset, value) => view.setUint8(offset, value),
};
export const u16: Field<number> = {
  size: 2,
  align: 2,
  get: (view, offset) => view.getUint16(offset, true),
  set: (view, offset, value) => view.setUint16(offset, value, true),
};
export const u32: Field<number> = {
  size: 4,
  align: 4,
  get: (view, offset) => view.getUint32(offset, true),
  set: (view, offset, value) => view.setUint32(offset, value, true),
};
export const u64: Field<bigint> = {
  size: 8,
  align: 8,
  get: (view, offset) => view.getBigUint64(offset, true),
  set: (view, offset, value) => view.setBigUint64(offset, value, true),
};

/** A fixed run of bytes. Reading gives a copy; writing fewer bytes leaves the rest zero. */
export function bytes(length: number): Field<Uint8Array> {
  return {
    size: length,
    align: 1,
    get: (view, offset) => new Uint8Array(view.buffer, view.byteOffset + offset, length).slice(),
    set: (view, offset, value) => {
      if (value.length > length) throw new RangeError(`${value.length} bytes do not fit into ${length}`);
      new Uint8Array(view.buffer, view.byteOffset + offset, length).set(value);
    },
  };
}

/** `count` elements of one type, one after the other. */
export function array<T>(element: Field<T>, count: number): Field<T[]> {
  return {
    size: element.size * count,
    align: element.align,
    get: (view, offset) =>
      Array.from({ length: count }, (_, index) => element.get(view, offset + index * element.size)),
    set: (view, offset, values) => {
      if (values.length > count) throw new RangeError(`${values.length} elements do not fit into ${count}`);
      for (const [index, value] of values.entries()) element.set(view, offset + index * element.size, value);
    },
  };
}

type Fields = Record<string, Field<never> | Field<unknown>>;
type Content<F> = { [K in keyof F]: F[K] extends Field<infer T> ? T : never };

/** A declared struct; it is itself a field, so structs nest. */
export interface Struct<C> extends Field<C> {
  readonly name: string;
  /** Byte offset of each field from the start of the struct. */
  readonly offset: Readonly<Record<keyof C & string, number>>;
  /** A new buffer of `size` bytes with these fields set and everything else zero. */
  pack(values?: Partial<C>): Uint8Array<ArrayBuffer>;
  /** The content at `offset` of `bytes`. */
  unpack(bytes: Uint8Array, offset?: number): C;
}

/** The content of a struct: `type kvm_regs = StructValue<typeof kvm_regs>`. */
export type StructValue<S> = S extends Struct<infer C> ? C : never;

/** Declares a struct with the alignment rules of the System V x86-64 ABI. */
export function struct<F extends Fields>(name: string, fields: F): Struct<Content<F>> {
  type C = Content<F>;
  const entries = Object.entries(fields) as [keyof C & string, Field<unknown>][];
  const offset = {} as Record<keyof C & string, number>;
  let end = 0;
  let align = 1;
  for (const [key, field] of entries) {
    end = Math.ceil(end / field.align) * field.align;
    offset[key] = end;
    end += field.size;
    align = Math.max(align, field.align);
  }
  const size = Math.ceil(end / align) * align;

  const get = (view: DataView, base: number): C => {
    const content: Record<string, unknown> = {};
    for (const [key, field] of entries) content[key] = field.get(view, base + offset[key]);
    return content as C;
  };
  const set = (view: DataView, base: number, values: Partial<C>): void => {
    for (const [key, field] of entries) {
      if (values[key] !== undefined) field.set(view, base + offset[key], values[key]);
    }
  };
  return {
    name,
    size,
    align,
    offset,
    get,
    set,
    pack(values = {}) {
      const packed = new Uint8Array(size);
      set(new DataView(packed.buffer), 0, values);
      return packed;
    },
    unpack(source, at = 0) {
      return get(new DataView(source.buffer, source.byteOffset, source.byteLength), at);
    },
  };
}
