import type { Readable } from "node:stream";

/** The first `limit` bytes. When there is more `onLimit` is called, once, and the rest is dropped as it comes. */
export async function collectWithin(stream: Readable, limit: number, onLimit: () => void): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let left = limit;
  let told = false;
  for await (const piece of stream as AsyncIterable<Buffer>) {
    if (piece.length > left && !told) {
      told = true;
      onLimit();
    }
    pieces.push(piece.subarray(0, left));
    left -= Math.min(left, piece.length);
  }
  return Buffer.concat(pieces);
}
