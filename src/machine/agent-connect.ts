/** The agent behind the unix socket of a machine's vsock device. */
import type { Duplex } from "node:stream";
import { AgentError } from "../agent/errors.ts";
import { AGENT_PORT } from "../agent/protocol.ts";
import { connectVsock, VsockConnectError } from "./vsock-connect.ts";

const DEFAULT_TIMEOUT_MS = 60_000;
/** The device waits two minutes for the guest: what is refused then was not answered. */
const REFUSED_LATE_MS = 100_000;
/** Of setTimeout. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

const INSTALL =
  "tsvm image add-agent IMAGE puts it into a guest; the bundled guest has it where it is asked for";

/**
 * A guest that is busy may take its time, a minute by default, and with a `timeout` of Infinity without end. Throws an AgentError, a
 * VsockConnectError for what is no such socket, or the signal's reason.
 */
export async function connectAgent(
  path: string,
  {
    timeout = DEFAULT_TIMEOUT_MS,
    signal,
  }: { readonly timeout?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<Duplex> {
  const end = performance.now() + timeout;
  for (;;) {
    const start = performance.now();
    try {
      const attempt = Math.max(1, Math.min(LONGEST_TIMEOUT_MS, end - start));
      return await connectVsock(path, AGENT_PORT, { timeout: attempt, signal });
    } catch (error) {
      if (!(error instanceof VsockConnectError)) throw error;
      const now = performance.now();
      if (error.reason === "refused" && now - start < REFUSED_LATE_MS)
        throw new AgentError("ERR_AGENT_ABSENT", "no agent listens in the guest", {
          hint: INSTALL,
          cause: error,
        });
      if (error.reason !== "timeout" && error.reason !== "refused") throw error;
      if (now >= end) {
        throw new AgentError("ERR_AGENT_TIMEOUT", "the guest's agent takes no connection", {
          hint: "is the guest up, and is its kernel built with virtio-vsock?",
          cause: error,
        });
      }
    }
  }
}
