/** Entropy device, virtio 1.2 section 5.4: each buffer is filled from getrandom(2), straight into guest memory. */
import { getrandom } from "../../ffi/libc.ts";
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import { VirtioBackend } from "./backend.ts";
import { VIRTIO_ID_RNG } from "./constants.ts";
import { EntropyCounter, entropyCounters, type EntropyCounters } from "./device-counters.ts";
import type { DescriptorChain } from "./queue.ts";
import type { VirtioModel, VirtioState } from "./state.ts";

/** No driver needs more at once; it bounds what one chain costs the host. */
const LARGEST = 64 * 1024;

export function rngModel(): VirtioModel {
  return { deviceId: VIRTIO_ID_RNG, features: [], queueSizes: [64], config: new Uint8Array(0) };
}

export class VirtioRng extends VirtioBackend {
  readonly #counters: EntropyCounters;

  constructor(state: VirtioState, memory: GuestMemory, counters: EntropyCounters = entropyCounters()) {
    super(state, memory);
    this.#counters = counters;
  }

  protected override handle(_index: number, chain: DescriptorChain): number {
    let written = 0;
    for (let at = chain.readable; at < chain.count && written < LARGEST; at++) {
      const wanted = Math.min(chain.length[at]!, LARGEST - written);
      const got = getrandom(chain.host[at]!, wanted, 0);
      if (got > 0) written += got;
      if (got < wanted) break;
    }
    this.#counters.add(EntropyCounter.requests);
    this.#counters.add(EntropyCounter.bytes, written);
    return written;
  }

  protected override reset(): void {
    // Stateless.
  }
}
