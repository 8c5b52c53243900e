/** An agent that says what a test wants it to say, and hears what it is told. */
import { duplexPair, type Duplex } from "node:stream";
import type { Connector } from "../connection.ts";
import { encodeFrame, FrameSplitter, u32, type Frame } from "../frames.ts";
import { FrameType } from "../protocol.ts";

export const HELLO = encodeFrame(FrameType.Hello, u32(1), u32(15));

export function exitFrame(kind: number, value: number, message = ""): Buffer {
  return encodeFrame(FrameType.Exit, u32(kind), u32(value), Buffer.from(message));
}

export class ScriptedAgent {
  readonly heard: Frame[] = [];
  readonly #agentSide: Duplex;
  readonly #hostSide: Duplex;
  readonly #onFrame: (frame: Frame, agent: ScriptedAgent) => void;

  /** Begins with `hello`; calls `onFrame` for what it is told. */
  constructor(hello: Uint8Array, onFrame: (frame: Frame, agent: ScriptedAgent) => void = () => undefined) {
    [this.#hostSide, this.#agentSide] = duplexPair();
    this.#onFrame = onFrame;
    const splitter = new FrameSplitter();
    this.#agentSide.on("data", (bytes: Buffer) => {
      splitter.push(bytes);
      for (let frame = splitter.next(); frame !== undefined; frame = splitter.next()) {
        if ("tooLong" in frame) throw new Error("the host sent a frame that is too long");
        this.heard.push(frame);
        this.#onFrame(frame, this);
      }
    });
    this.#agentSide.on("error", () => undefined);
    this.say(hello);
  }

  readonly connect: Connector = async () => this.#hostSide;

  say(...frames: readonly Uint8Array[]): void {
    for (const frame of frames) this.#agentSide.write(frame);
  }

  leave(): void {
    this.#agentSide.end();
  }

  /** Whether the host has closed the connection. */
  get closed(): boolean {
    return this.#hostSide.destroyed;
  }
}
