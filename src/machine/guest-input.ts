/** What goes into a machine: what is typed on its console, and what tsvm's init is told. All of it is void once it has ended. */
import type { Socket } from "node:net";
import type { WindowSize } from "../devices/virtio/console.ts";
import type { Assembly } from "./assemble.ts";
import { ring } from "./doorbell.ts";
import type { GuestSession } from "./guest-session.ts";

export class GuestInput {
  readonly #assembly: Assembly;
  readonly #session: GuestSession | undefined;
  readonly #onUse: () => void;
  #closed = false;

  /** `onUse` is called before something is typed on the console: somebody must take it. */
  constructor(assembly: Assembly, session: GuestSession | undefined, onUse: () => void) {
    this.#assembly = assembly;
    this.#onUse = onUse;
    this.#session = session;
  }

  /** False when the guest takes it slower than it comes. `done` is called when it has gone, or never will. */
  writeConsole(bytes: Uint8Array, done?: () => void): boolean {
    if (!this.#closed) {
      this.#onUse();
      return this.#console().write(bytes, done);
    }
    done?.();
    return true;
  }

  onceConsoleDrained(listener: () => void): void {
    if (!this.#closed) this.#console().once("drain", listener);
  }

  writeStdin(bytes: Uint8Array, done?: () => void): boolean {
    if (!this.#closed && this.#session !== undefined) return this.#session.writeStdin(bytes, done);
    done?.();
    return true;
  }

  onceStdinDrained(listener: () => void): void {
    if (!this.#closed) this.#assembly.pipes.virtio?.controlInput.stream().once("drain", listener);
  }

  endStdin(): void {
    if (!this.#closed) this.#session?.endStdin();
  }

  signalCommand(signal: number): void {
    if (!this.#closed) this.#session?.signal(signal);
  }

  /** Asks tsvm's init for the agent. False where there is no such init. */
  startAgent(): boolean {
    if (this.#session === undefined) return false;
    if (!this.#closed) this.#session.startAgent();
    return true;
  }

  resizeConsole(size: WindowSize): void {
    if (this.#closed) return;
    this.#assembly.control.windowSize = size;
    ring(this.#assembly.plan.ioControlFd);
  }

  close(): void {
    this.#closed = true;
  }

  #console(): Socket {
    const { virtio, serialInput } = this.#assembly.pipes;
    return (virtio?.input ?? serialInput).stream();
  }
}
