/** The last frame of tsvm's init and of the agent (docs/guest.md): how a command ended. */

/** How a command in the guest ended. */
export type CommandExit =
  | { readonly kind: "exited"; readonly status: number }
  | { readonly kind: "signaled"; readonly signal: number }
  | { readonly kind: "not-started"; readonly errno: number; readonly message: string };

/**
 * Takes the payload apart. `text` makes a message of the guest's bytes, `broken` an error of what makes no sense.
 *
 * @throws what `broken` makes.
 */
export function decodeExit(
  payload: Buffer,
  text: (bytes: Buffer) => string,
  broken: (complaint: string) => Error,
): CommandExit {
  if (payload.length < 8) throw broken("a short exit frame");
  const kind = payload.readUInt32LE(0);
  const value = payload.readUInt32LE(4);
  switch (kind) {
    case 0:
      return { kind: "exited", status: value & 0xff };
    case 1:
      return { kind: "signaled", signal: value & 0x7f };
    case 2:
      return { kind: "not-started", errno: value, message: text(payload.subarray(8)) };
    default:
      throw broken(`an exit frame of kind ${kind}`);
  }
}
