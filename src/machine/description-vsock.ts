/** Checks of the vsock part of a description. */
import { LARGEST_GUEST_CID, SMALLEST_GUEST_CID } from "../devices/virtio/vsock/cid.ts";
import { DescriptionError } from "./description-error.ts";
import type { VsockDescription } from "./description.ts";

/** Throws a {@link DescriptionError} for the first thing that is wrong. */
export function validateVsock({ cid, path }: VsockDescription): void {
  if (
    cid !== undefined &&
    !(Number.isInteger(cid) && cid >= SMALLEST_GUEST_CID && cid <= LARGEST_GUEST_CID)
  ) {
    throw new DescriptionError(
      `vsock.cid: ${cid} is not a whole number from ${SMALLEST_GUEST_CID} to ${LARGEST_GUEST_CID}`,
      "the smaller ones and the last are reserved; leave it out for 3",
    );
  }
  if (path === "" || path?.includes("\0") === true) {
    throw new DescriptionError(
      `vsock.path: ${path === "" ? "is empty" : "contains a NUL character"}`,
      "name the unix socket to make, or leave it out",
    );
  }
}
