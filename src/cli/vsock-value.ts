/** Parser of `--vsock`. */
import type { VsockDescription } from "../machine/description.ts";
import { UsageError } from "./errors.ts";
import { parseCount } from "./values.ts";

/** `PATH[,cid=N]`. Throws a {@link UsageError} that names the option. */
export function parseVsock(text: string): VsockDescription {
  const [path = "", ...properties] = text.split(",");
  if (path === "") throw new UsageError(`--vsock: "${text}" names no socket`, "write --vsock PATH");
  const vsock: VsockDescription = { path };
  for (const property of properties) {
    const [name, ...value] = property.split("=");
    if (name !== "cid") throw new UsageError(`--vsock: unknown property "${property}"`, "known is cid");
    if (vsock.cid !== undefined)
      throw new UsageError(`--vsock: cid is there twice in "${text}"`, "give it once");
    vsock.cid = parseCount("--vsock: cid", value.join("="), 3);
  }
  return vsock;
}
