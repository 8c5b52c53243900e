/**
 * Frames: the form in which tsvm speaks with its init (docs/guest.md) and with the agent (docs/agent.md) in a guest. Type (1 byte),
 * 3 zero bytes, payload length (u32, little endian), payload.
 */
const HEADER = 8;
/** Bytes; longer ones are never sent, in either direction. */
export const LARGEST_PAYLOAD = 1 << 20;

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** Cuts a guest's byte stream into frames. Holds at most one incomplete frame beside what it was given last. */
export class FrameSplitter {
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** What the frame at the beginning takes, as far as that is known. */
  #wanted = HEADER;

  push(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#pieces.push(bytes);
    this.#bytes += bytes.length;
  }

  /** Whether a frame has begun and has not ended. */
  get inFrame(): boolean {
    return this.#bytes > 0;
  }

  /** The next whole frame; the length of one that is too long, in place of it; or nothing yet. */
  next(): Frame | { readonly tooLong: number } | undefined {
    if (this.#bytes < this.#wanted) return undefined;
    const data = this.#joined();
    const length = data.readUInt32LE(4);
    if (length > LARGEST_PAYLOAD) return { tooLong: length };
    this.#wanted = HEADER + length;
    if (this.#bytes < this.#wanted) return undefined;
    const payload = data.subarray(HEADER, this.#wanted);
    const rest = data.subarray(this.#wanted);
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
    this.#wanted = HEADER;
    return { type: data[0]!, payload };
  }

  /** Joins when a header or a frame is whole, not for each piece: they may come byte by byte. */
  #joined(): Buffer {
    if (this.#pieces.length !== 1) this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0]!;
  }
}

/** A frame with these parts as its payload. */
export function encodeFrame(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = Buffer.alloc(HEADER + length);
  bytes[0] = type;
  bytes.writeUInt32LE(length, 4);
  let at = HEADER;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

/** A string and the zero byte behind it. */
export function text(value: string | Uint8Array): Buffer {
  return Buffer.concat([typeof value === "string" ? Buffer.from(value, "utf8") : value, Buffer.of(0)]);
}

/** A counted list of strings. */
export function strings(values: readonly string[]): Buffer {
  return Buffer.concat([u32(values.length), ...values.map(text)]);
}

/** `NAME=value` for each variable. */
export function environment(variables: Readonly<Record<string, string>>): string[] {
  return Object.entries(variables).map(([name, value]) => `${name}=${value}`);
}
