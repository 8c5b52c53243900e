/** The way to the agent in the guest of a VM in the background: straight to the machine's vsock socket, past its monitor. */
import { AgentClient } from "../agent/client.ts";
import { AgentError } from "../agent/errors.ts";
import { connectAgent } from "../machine/agent-connect.ts";
import { VsockConnectError } from "../machine/vsock-connect.ts";
import { notRunning } from "./reach.ts";
import type { Vm } from "./vm.ts";

/** How long after its start a guest is waited for, which may still be booting. */
const BOOT_PATIENCE_MS = 60_000;
const PAUSE_MS = 200;

/**
 * Its requests throw a ManagerError where the VM does not run, an AgentError where the agent cannot be reached. One that has just
 * been started is waited for.
 */
export function agentOf(vm: Vm): AgentClient {
  return new AgentClient(async ({ signal }) => {
    for (;;) {
      const { record, pid } = vm.standing();
      if (pid === undefined) throw notRunning(vm.name);
      if (record.state === "paused")
        throw new AgentError("ERR_AGENT_ABSENT", `${vm.name} is paused`, { hint: `tsvm resume ${vm.name}` });
      const boots = Date.now() - (record.startedAt ?? 0) < BOOT_PATIENCE_MS;
      const starts = record.state === "starting" || record.state === "restarting";
      if (record.vsock === undefined && !starts) {
        throw new AgentError("ERR_AGENT_ABSENT", `${vm.name} has no way into its guest`, {
          hint: "its definition says agent: false, or it was started by an older tsvm",
        });
      }
      try {
        if (record.vsock !== undefined && !starts) return await connectAgent(record.vsock, { signal });
      } catch (error) {
        if (!boots || !mayPass(error)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      signal?.throwIfAborted();
    }
  });
}

function mayPass(error: unknown): boolean {
  if (error instanceof VsockConnectError) return error.reason === "socket";
  return error instanceof AgentError && error.code === "ERR_AGENT_ABSENT";
}
