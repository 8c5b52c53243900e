/** The agent behind the unix socket of a machine's vsock device. */
import type { Duplex } from "node:stream";
import { AgentError } from "../agent/errors.ts";
import { AGENT_PORT } from "../agent/protocol.ts";
import { connectVsock, VsockConnectError } from "./vsock-connect.ts";

const INSTALL =
  "tsvm image add-agent IMAGE puts it into a guest; the bundled guest has it where it is asked for";

/** Throws an AgentError, a VsockConnectError for what is no such socket, or the signal's reason. */
export async function connectAgent(
  path: string,
  options: { readonly timeout?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<Duplex> {
  try {
    return await connectVsock(path, AGENT_PORT, options);
  } catch (error) {
    if (!(error instanceof VsockConnectError)) throw error;
    if (error.reason === "refused")
      throw new AgentError("ERR_AGENT_ABSENT", "no agent listens in the guest", {
        hint: INSTALL,
        cause: error,
      });
    if (error.reason === "timeout") {
      throw new AgentError("ERR_AGENT_TIMEOUT", "the guest's agent takes no connection", {
        hint: "is the guest up, and is its kernel built with virtio-vsock?",
        cause: error,
      });
    }
    throw error;
  }
}
