/** A machine's console and its command's streams as Node streams, made when they are first asked for. */
import { Duplex, Readable, Writable, type ReadableOptions } from "node:stream";
import type { Channel, GuestOutput } from "./guest-output.ts";
import type { KeepAlive } from "./keep-alive.ts";

/** As much as a pipe holds. */
const HIGH_WATER_MARK = 64 * 1024;

type StreamName = "stdout" | "stderr" | "console";

/** Takes bytes for the guest; `done` is called when there is room for more. */
export type WriteToGuest = (bytes: Uint8Array, done: () => void) => void;

export interface GuestWriters {
  console: WriteToGuest;
  stdin: WriteToGuest;
  endStdin(): void;
}

export class GuestStreams {
  readonly #output: GuestOutput;
  readonly #keepAlive: KeepAlive;
  readonly #writers: GuestWriters;
  #stdout: Readable | undefined;
  #stderr: Readable | undefined;
  #stdin: Writable | undefined;
  #console: Duplex | undefined;
  #ended = false;

  constructor(output: GuestOutput, keepAlive: KeepAlive, writers: GuestWriters) {
    this.#output = output;
    this.#keepAlive = keepAlive;
    this.#writers = writers;
  }

  get stdout(): Readable {
    return (this.#stdout ??= this.#readable("stdout"));
  }

  get stderr(): Readable {
    return (this.#stderr ??= this.#readable("stderr"));
  }

  get stdin(): Writable {
    if (this.#stdin !== undefined) return this.#stdin;
    this.#stdin = new Writable({
      decodeStrings: true,
      write: (bytes: Buffer, _encoding, done) => this.#writers.stdin(bytes, done),
      final: (done) => {
        this.#writers.endStdin();
        done();
      },
    });
    if (this.#ended) this.#stdin.destroy();
    return this.#stdin;
  }

  get console(): Duplex {
    if (this.#console !== undefined) return this.#console;
    const stream = new Duplex({
      ...this.#reading("console"),
      decodeStrings: true,
      write: (bytes: Buffer, _encoding, done) => this.#writers.console(bytes, done),
    });
    // A console has no end of input, so the stream is over when there is nothing left to read.
    stream.once("end", () => stream.destroy());
    return (this.#console = this.#begin(stream));
  }

  /** Gives bytes to whoever has asked for the stream. */
  push(name: StreamName, bytes: Buffer): void {
    const stream = { stdout: this.#stdout, stderr: this.#stderr, console: this.#console }[name];
    if (stream === undefined || stream.destroyed) return;
    if (!stream.push(bytes)) this.#output.hold(channelOf(name), stream);
    this.#update(stream);
  }

  /** Nothing more comes, and nothing more is taken. */
  end(): void {
    this.#ended = true;
    for (const stream of [this.#stdout, this.#stderr, this.#console]) {
      if (stream !== undefined && !stream.destroyed) stream.push(null);
    }
    this.#stdin?.destroy();
  }

  #readable(name: StreamName): Readable {
    return this.#begin(new Readable(this.#reading(name)));
  }

  #reading(name: StreamName): ReadableOptions {
    const release = (stream: Readable): void => this.#output.release(channelOf(name), stream);
    const update = (stream: Readable): void => this.#update(stream);
    return {
      highWaterMark: HIGH_WATER_MARK,
      read() {
        release(this);
        update(this);
      },
      destroy(error, done) {
        release(this);
        update(this);
        done(error);
      },
    };
  }

  #begin<S extends Readable>(stream: S): S {
    const update = (): void => this.#update(stream);
    stream.on("pause", update).on("resume", update).on("removeListener", update);
    // The new one is not there yet.
    stream.on("newListener", () => process.nextTick(update));
    if (this.#ended) stream.push(null);
    return stream;
  }

  /** The program waits for the machine as long as somebody wants more of the stream. */
  #update(stream: Readable): void {
    const read =
      stream.listenerCount("readable") > 0 ||
      (stream.readableFlowing === true && stream.listenerCount("data") > 0);
    const wanted = read && !stream.destroyed && stream.readableLength < HIGH_WATER_MARK;
    if (wanted) this.#keepAlive.hold(stream);
    else this.#keepAlive.release(stream);
  }
}

function channelOf(name: StreamName): Channel {
  return name === "console" ? "console" : "control";
}
