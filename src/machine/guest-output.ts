/** What comes out of a machine: reads its pipes, hands the bytes on, and holds them back while somebody is behind. */
import type { MachinePipes } from "./assemble.ts";
import type { WorkerPipe } from "./pipe.ts";

/** Which console: the serial port, or port 0 of the virtio console. */
export type ConsoleSource = "serial" | "virtio";

export interface OutputSink {
  console(bytes: Buffer, source: ConsoleSource): void;
  /** Bytes of tsvm's init. */
  control(bytes: Buffer): void;
}

/** `console` is the serial port and port 0 of the virtio console, `control` the port of the command's output. */
export type Channel = "console" | "control";

export class GuestOutput {
  readonly #channels: Record<Channel, WorkerPipe[]>;
  readonly #holders: Record<Channel, Set<unknown>> = { console: new Set(), control: new Set() };
  #released = false;
  #closed = false;

  constructor({ serialOutput, virtio }: MachinePipes, sink: OutputSink) {
    this.#channels =
      virtio === undefined
        ? { console: [serialOutput], control: [] }
        : { console: [serialOutput, virtio.output], control: [virtio.controlOutput] };
    listen(serialOutput, (bytes) => sink.console(bytes, "serial"));
    if (virtio === undefined) return;
    listen(virtio.output, (bytes) => sink.console(bytes, "virtio"));
    listen(virtio.controlOutput, (bytes) => sink.control(bytes));
  }

  /** Stops reading `channel` until everyone who holds it has released it. The guest waits as soon as the pipe is full. */
  hold(channel: Channel, holder: unknown): void {
    if (this.#released) return;
    this.#holders[channel].add(holder);
    for (const pipe of this.#channels[channel]) pipe.stream().pause();
  }

  release(channel: Channel, holder: unknown): void {
    const holders = this.#holders[channel];
    if (!holders.delete(holder) || holders.size > 0) return;
    this.#resume(channel);
  }

  /** From now on nobody can hold anything back: a vCPU that waits for room in a full pipe gets it. */
  releaseAll(): void {
    if (this.#released) return;
    this.#released = true;
    this.#resume("console");
    this.#resume("control");
  }

  /** Reads everything to its end, once no thread writes any more. */
  async drain(): Promise<void> {
    this.releaseAll();
    const pipes = [...this.#channels.console, ...this.#channels.control];
    for (const pipe of pipes) pipe.closeWorkerEnd();
    await Promise.all(pipes.map(ended));
    this.#closed = true;
  }

  #resume(channel: Channel): void {
    if (this.#closed) return;
    for (const pipe of this.#channels[channel]) pipe.stream().resume();
  }
}

function listen(pipe: WorkerPipe, onData: (bytes: Buffer) => void): void {
  const stream = pipe.stream();
  stream.on("data", onData);
  // Whether the program waits for a machine does not depend on its pipes.
  stream.unref();
}

async function ended(pipe: WorkerPipe): Promise<void> {
  const stream = pipe.stream();
  return new Promise((resolve) => {
    if (stream.readableEnded || stream.destroyed) resolve();
    else {
      stream.once("close", resolve);
      stream.once("end", resolve);
    }
  });
}
