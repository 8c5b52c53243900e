import type { Need } from "../../../test/support/needs.ts";
import { IoUring } from "../io-uring.ts";

/** For tests that need a ring of io_uring. */
export const IO_URING: Need = () => {
  try {
    new IoUring(1).close();
    return undefined;
  } catch (error) {
    return `io_uring (${String(error)})`;
  }
};
