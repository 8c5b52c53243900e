import { MAP_ANONYMOUS, MAP_PRIVATE, PAGE_SIZE, PROT_READ, PROT_WRITE } from "./constants.ts";
import { mmap, munmap, view } from "./libc.ts";

/**
 * Memory outside the JavaScript heap at a fixed address, so that hot calls can pass the address as a number.
 * It lives as long as this object or `buffer` does: whoever uses `address` keeps one of the two.
 */
export interface NativeBuffer {
  readonly address: number;
  readonly buffer: ArrayBuffer;
}

const releases = new FinalizationRegistry<{ address: number; size: number }>(({ address, size }) => {
  munmap(address, size);
});

/** Maps `length` bytes (rounded up to whole pages) of zeroed memory. */
export function allocateNative(length: number): NativeBuffer {
  const size = Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
  const address = mmap(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  const native = { address, buffer: view(address, size) };
  releases.register(native.buffer, { address, size });
  return native;
}
