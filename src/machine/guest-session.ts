/** The host's end of the conversation with tsvm's init in the guest. */
import type { Writable } from "node:stream";
import {
  encodeAgent,
  encodeSignal,
  encodeStdin,
  encodeStdinEnd,
  FrameReader,
  type GuestEvents,
} from "./guest-init.ts";

/** Keeps one frame well below what the guest buffers. */
const LARGEST_STDIN_FRAME = 32 * 1024;

export class GuestSession {
  readonly #input: Writable;
  readonly #reader: FrameReader;

  constructor(input: Writable, events: GuestEvents) {
    this.#input = input;
    this.#reader = new FrameReader(events);
  }

  /** Bytes from the guest. Throws a GuestProtocolError. */
  receive(bytes: Buffer): void {
    this.#reader.push(bytes);
  }

  /** Sends a run frame; it waits in the port until init opens that. */
  run(frame: Uint8Array): void {
    this.#input.write(frame);
  }

  /** False when the guest is behind: more should wait for the stream's `drain`. `done` is called when all has gone. */
  writeStdin(bytes: Uint8Array, done?: () => void): boolean {
    let room = true;
    for (let at = 0; at < bytes.length; at += LARGEST_STDIN_FRAME) {
      const end = at + LARGEST_STDIN_FRAME;
      const last = end >= bytes.length;
      room = this.#input.write(encodeStdin(bytes.subarray(at, end)), last ? done : undefined);
    }
    if (bytes.length === 0) done?.();
    return room;
  }

  endStdin(): void {
    this.#input.write(encodeStdinEnd());
  }

  startAgent(): void {
    this.#input.write(encodeAgent());
  }

  signal(signal: number): void {
    this.#input.write(encodeSignal(signal));
  }
}
