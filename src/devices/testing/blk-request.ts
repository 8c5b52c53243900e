/** Requests to a block device as a driver makes them: streams of bytes, cut into buffers anywhere. */
import type { VirtioBlk } from "../virtio/blk.ts";
import type { DriverQueue, Rig, Segment } from "./driver.ts";

export const IN = 0;
export const OUT = 1;
export const FLUSH = 4;
export const GET_ID = 8;
export const DISCARD = 11;
export const WRITE_ZEROES = 13;

export const OK = 0;
export const IOERR = 1;
export const UNSUPP = 2;

const SECTOR = 512;

export interface Request {
  readonly type: number;
  readonly sector?: number | bigint;
  /** What follows the header in the readable part. */
  readonly payload?: Uint8Array;
  /** Bytes of data in the writable part, before the status. */
  readonly room?: number;
  /** Where the readable and the writable stream are cut into buffers. */
  readonly cuts?: readonly number[];
  readonly indirect?: boolean;
}

export interface Answer {
  readonly status: number;
  /** Length in the used ring. */
  readonly used: number;
  /** What stands in the writable part before the status. */
  readonly data: Buffer;
}

/** What a buffer holds that nobody has written to. */
export const UNTOUCHED = 0xaa;

export function header(type: number, sector: number | bigint = 0): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(type, 0);
  bytes.writeBigUInt64LE(BigInt(sector), 8);
  return bytes;
}

/** One range of a DISCARD or WRITE_ZEROES request. */
export function range(sector: number | bigint, sectors: number, flags = 0): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt(sector), 0);
  bytes.writeUInt32LE(sectors, 8);
  bytes.writeUInt32LE(flags, 12);
  return bytes;
}

/** Sends one request and waits for its answer. Undefined where the device has given up on its driver. */
export function submitRequest(rig: Rig<VirtioBlk>, queue: DriverQueue, request: Request): Answer | undefined {
  const readable = Buffer.concat([header(request.type, request.sector), request.payload ?? Buffer.alloc(0)]);
  const writable = Buffer.alloc((request.room ?? 0) + 1, UNTOUCHED);
  const cuts = request.cuts ?? [];
  const answer = cut(writable, cuts).map((piece) => ({ ...rig.place(piece), writable: true }));
  return send(
    rig,
    queue,
    [...cut(readable, cuts).map((piece) => rig.place(piece)), ...answer],
    request.indirect,
  );
}

/** Sends a chain of any shape; the last writable byte is the status. */
export function send(
  rig: Rig<VirtioBlk>,
  queue: DriverQueue,
  segments: readonly Segment[],
  indirect = false,
): Answer | undefined {
  if (indirect) queue.submitIndirect(segments, rig.allocate(16 * segments.length));
  else queue.submit(segments);
  rig.run();
  const [used] = queue.takeUsed();
  if (used === undefined) return undefined;
  const written = segments.filter((segment) => segment.writable === true);
  const bytes = Buffer.concat(written.map(({ gpa, length }) => rig.bytes.slice(gpa, gpa + length)));
  return { status: bytes.at(-1)!, used: used.length, data: bytes.subarray(0, -1) };
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const edges = [0, ...places, bytes.length];
  return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
}

export function sectors(count: number, seed: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: count * SECTOR }, (_, at) => at * 7 + seed + (at >> 9)));
}
