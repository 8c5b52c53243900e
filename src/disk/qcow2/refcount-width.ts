/** Reference counts of 1 to 64 bits within a refcount block. Narrow ones fill a byte from its least significant bit. */
export interface RefcountWidth {
  readonly bits: number;
  /** The largest count; wider ones than 2^53 are not counted further, and never given out. */
  readonly most: number;
  /** Entry `index` of the block or slice that begins at byte `base`. */
  get(view: DataView, base: number, index: number): number;
  set(view: DataView, base: number, index: number, count: number): void;
}

/** For counts of 2^order bits, order 0 to 6. */
export function refcountWidth(order: number): RefcountWidth {
  const width = WIDTHS[order];
  if (width === undefined) throw new RangeError(`refcount order ${order}`);
  return width;
}

function narrow(bits: number): RefcountWidth {
  const most = 2 ** bits - 1;
  const perByte = 8 / bits;
  return {
    bits,
    most,
    get: (view, base, index) =>
      (view.getUint8(base + Math.floor(index / perByte)) >>> ((index % perByte) * bits)) & most,
    set(view, base, index, count) {
      const at = base + Math.floor(index / perByte);
      const shift = (index % perByte) * bits;
      view.setUint8(at, (view.getUint8(at) & ~(most << shift)) | (count << shift));
    },
  };
}

const WIDTHS: readonly RefcountWidth[] = [
  narrow(1),
  narrow(2),
  narrow(4),
  {
    bits: 8,
    most: 2 ** 8 - 1,
    get: (view, base, index) => view.getUint8(base + index),
    set: (view, base, index, count) => {
      view.setUint8(base + index, count);
    },
  },
  {
    bits: 16,
    most: 2 ** 16 - 1,
    get: (view, base, index) => view.getUint16(base + 2 * index),
    set: (view, base, index, count) => {
      view.setUint16(base + 2 * index, count);
    },
  },
  {
    bits: 32,
    most: 2 ** 32 - 1,
    get: (view, base, index) => view.getUint32(base + 4 * index),
    set: (view, base, index, count) => {
      view.setUint32(base + 4 * index, count);
    },
  },
  {
    bits: 64,
    most: Number.MAX_SAFE_INTEGER,
    get: (view, base, index) =>
      view.getUint32(base + 8 * index) * 2 ** 32 + view.getUint32(base + 8 * index + 4),
    set: (view, base, index, count) => {
      view.setUint32(base + 8 * index, Math.floor(count / 2 ** 32));
      view.setUint32(base + 8 * index + 4, count % 2 ** 32);
    },
  },
];
