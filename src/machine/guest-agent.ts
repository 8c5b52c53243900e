/** Has tsvm's init start the agent, at most once, and knows when it listens. */
import { AgentError } from "../agent/errors.ts";
import { Deferred } from "../deferred.ts";
import { errnoName } from "../ffi/errno.ts";

export class GuestAgent {
  readonly #ask: () => boolean;
  readonly #listening = new Deferred<void>();
  #asked: boolean;
  #listens = false;

  /** `wanted`: whether init was told to start it; `ask` asks for it now, and is false where there is no such init. */
  constructor(wanted: "now" | "later" | undefined, ask: () => boolean) {
    this.#ask = ask;
    this.#asked = wanted === "now";
  }

  /**
   * Resolves when the agent listens; in a guest with an init of its own at once, since nothing is known there. Rejects with an
   * AgentError, or a MachineEndedError.
   */
  get listening(): Promise<void> {
    if (!this.#asked) {
      this.#asked = true;
      if (!this.#ask()) this.#listening.resolve();
    }
    return this.#listening.promise;
  }

  /** Whether init has said that it does. */
  get listens(): boolean {
    return this.#listens;
  }

  /** What init says. */
  answered(errno: number): void {
    if (errno === 0) {
      this.#listens = true;
      this.#listening.resolve();
    } else {
      this.#listening.reject(
        new AgentError("ERR_AGENT_ABSENT", `the guest's init cannot start the agent: ${errnoName(errno)}`, {
          errno,
          hint: REASONS[errnoName(errno)],
        }),
      );
    }
  }

  end(error: Error): void {
    this.#listening.reject(error);
  }
}

const REASONS: Record<string, string> = {
  EAFNOSUPPORT: "the guest's kernel has no vsock (CONFIG_VSOCKETS, CONFIG_VIRTIO_VSOCKETS)",
  ENODEV: "the guest's kernel has no driver for the vsock device (CONFIG_VIRTIO_VSOCKETS)",
  ENOENT: "ask for it in the description: agent: true",
};
